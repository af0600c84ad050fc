"""protobuf to numpy and back, and the gRPC servicers. Knows nothing of onnxruntime."""
