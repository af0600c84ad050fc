"""The life of the process: load, serve, drain, stop; health, metrics, logs. Knows no tensors."""
