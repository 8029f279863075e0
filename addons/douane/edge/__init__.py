"""Files, sockets and secrets: whatever touches the world outside the process and is not mitmproxy's, SQL or HTTP."""
