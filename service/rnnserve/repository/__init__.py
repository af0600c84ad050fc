"""Finding, checking and describing models on disk. Knows neither sessions nor gRPC."""
