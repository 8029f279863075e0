"""Douane: the customs house on an agent's way out."""

__version__ = "0.1.0"
