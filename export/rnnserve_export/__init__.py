"""From a training run to a model repository: the ONNX graph, the proof of it, and publishing."""
