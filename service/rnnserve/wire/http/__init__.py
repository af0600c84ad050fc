"""The Open Inference Protocol over HTTP and JSON, for curl and browsers. Alone imports aiohttp."""
