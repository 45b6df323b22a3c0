"""The Open Inference Protocol, apart from what carries it: its errors and requests, tensors, and the models served."""
