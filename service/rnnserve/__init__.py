"""rnnserve: a gRPC server for models with memory."""

__version__ = "0.1.0"
