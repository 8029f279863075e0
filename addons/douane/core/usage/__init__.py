"""Measured quantities out of responses: one file per wire shape."""
