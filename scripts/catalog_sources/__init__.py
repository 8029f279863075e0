"""Readers of the vendors' machine-readable descriptions, one a file."""
