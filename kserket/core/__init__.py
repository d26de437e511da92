"""Machinery that knows no family of models: messages, modules, graphs, files."""
