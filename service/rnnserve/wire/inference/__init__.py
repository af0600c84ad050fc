"""The Open Inference Protocol, as Triton and its clients speak it, over the one engine."""
