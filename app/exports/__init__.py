"""Architectures for other places: pictures, Python files and ONNX models."""
