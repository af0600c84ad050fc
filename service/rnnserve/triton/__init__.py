"""Triton's model configuration: generated stubs, see `proto/`."""
