"""A provider in a process of its own that takes bodies of any size and answers 201: `python sink.py LEAF.PEM`."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import threading

ANSWER = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def serve(context: ssl.SSLContext, raw: socket.socket) -> None:
    """Swallow requests until the other side leaves."""
    with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as connection:
        kept = b""
        while True:
            while b"\r\n\r\n" not in kept:
                if not (data := connection.recv(1 << 16)):
                    return
                kept += data
            head, _, kept = kept.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: *(\d+)", head)
            left = (int(found[1]) if found else 0) - len(kept)
            while left > 0:
                left -= len(connection.recv(1 << 18))
            kept = b""
            connection.sendall(ANSWER)


def main() -> None:
    """Listen, print the port, serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            raw, _ = listener.accept()
            threading.Thread(target=serve, args=(context, raw), daemon=True).start()


if __name__ == "__main__":
    main()
