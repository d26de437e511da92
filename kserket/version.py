"""The version, as a literal: readable without importing TensorFlow."""

__version__ = "0.1.0"
