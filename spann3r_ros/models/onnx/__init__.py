"""Networks whose stages ONNX Runtime runs: exported once, then run without PyTorch's copy of their weights."""
