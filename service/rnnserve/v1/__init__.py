"""The wire contract rnnserve.v1: generated stubs, see `proto/`."""
