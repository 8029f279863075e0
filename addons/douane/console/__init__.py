"""The console: mitmweb's UI, locked down, where people decide. A client of the API; it holds no store and no proxy."""
