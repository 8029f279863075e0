"""A stand-in for api.github.com on loopback, for `douane up --demo`: nothing real is ever touched."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "api.github.com"


def make_certificate(folder: Path) -> Path:
    """A certificate for the stand-in, signed by itself; returns the PEM file that the node trusts for this demo."""
    folder.mkdir(mode=0o700, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Douane demo {HOST}")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "demo-key.pem").write_bytes(private)
    (folder / "demo-cert.pem").write_bytes(pem)
    return folder / "demo-cert.pem"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            request_line, *fields = head.decode("latin-1").split("\r\n")
            method, target, _ = request_line.split(" ", 2)
            length = next((int(f.split(":", 1)[1]) for f in fields if f.lower().startswith("content-length:")), 0)
            await reader.readexactly(length)
            gone = method == "DELETE"
            body = b"" if gone else json.dumps({"demo": True, "full_name": target.partition("/repos/")[2]}).encode()
            status = "204 No Content" if gone else "200 OK"
            answer = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(answer.encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


def main(arguments: list[str] | None = None) -> None:
    """Serve the stand-in until ended: `python -m douane.edge.demo --folder DIR --port N --ready-fd FD`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    options = parser.parse_args(arguments)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.folder, options.port, options.ready_fd))


async def serve(folder: Path, port: int, ready_fd: int) -> None:
    """Serve with the certificate of `make_certificate`, and say `ready` on a pipe once it listens."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "demo-cert.pem", folder / "demo-key.pem")
    server = await asyncio.start_server(_answer, "127.0.0.1", port, ssl=context)
    os.write(ready_fd, b"ready\n")
    os.close(ready_fd)
    await server.serve_forever()


if __name__ == "__main__":
    main()
