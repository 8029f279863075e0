"""The API, /v1: on a Unix socket in the private folder."""
