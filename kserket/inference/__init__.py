"""Inference as functions on NumPy arrays: equations, sampling, filtering. No model, no file."""
