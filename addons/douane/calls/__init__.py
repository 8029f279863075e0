"""The life of one call: admission, review, settlement. No mitmproxy here."""
