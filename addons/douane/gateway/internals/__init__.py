"""Everything that reaches into mitmproxy's internals, each with a test that fails on another mitmproxy version."""

MITMPROXY_VERSION = "12.2.3"
"""The only version that these modules were written against."""
