"""Enforcement: the only place, with the console, that imports mitmproxy."""
