"""An agent that misbehaves until killed: `KIND:THREADS,… NAME KEY PORT CA` are its arguments; prints `begun`."""

import contextlib
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

from support.product import Agent
from support.wire import ConnectionOver, ConnectRefused, Wire, credential, request

kinds, name, key, port, ca = sys.argv[1:]
threads = {kind: int(count) for kind, count in (word.split(":") for word in kinds.split(","))}
agent = Agent(name, key, "", Path(ca))
address = ("127.0.0.1", int(port))
numbers = itertools.count()
begun = threading.Semaphore(0)


def connections() -> None:
    """A quarter of 1,000 connections, each with an open tunnel, all kept."""
    with contextlib.ExitStack() as stack:
        for number in range(1_000 // threads["connections"]):
            raw = stack.enter_context(socket.create_connection(address, 10))
            raw.sendall(b"CONNECT api.github.com:443 HTTP/1.1\r\n" + credential(agent) + b"\r\n")
            if number == 20:
                begun.release()
        time.sleep(5)


def headers() -> None:
    """A head that never ends."""
    with Wire.tunnel(agent, address, "api.github.com") as wire:
        wire.send(b"GET /user HTTP/1.1\r\nHost: api.github.com\r\n")
        begun.release()
        while True:
            wire.send(b"X-Pad: " + b"a" * 8_000 + b"\r\n")


def bodies() -> None:
    """Bodies of 32 MB, one after the other: a single text, or as many values as fit."""
    size = 32 * 1024 * 1024
    texts = b'{"title": "' + b"a" * (size - 20) + b'"}', b"[" + b"{}," * (size // 3 - 2) + b"{}]"
    body = texts[next(numbers) % 2]
    sent = request("POST", "sink.unmapped.example", "/things", body, "Content-Type: application/json")
    with Wire.tunnel(agent, address, "sink.unmapped.example", timeout=60) as wire:
        while True:
            answer = wire.ask(sent)
            print(answer.status, file=sys.stderr, flush=True)
            begun.release()


def holds() -> None:
    """A quarter of 100 held deletes, all waiting."""
    with contextlib.ExitStack() as stack:
        for _ in range(100 // threads["holds"]):
            wire = stack.enter_context(Wire.tunnel(agent, address, "api.github.com"))
            wire.send(request("DELETE", "api.github.com", f"/repos/acme/hold-{next(numbers)}"))
        begun.release()
        time.sleep(5)


def chunks() -> None:
    """A body that comes byte by byte, each in a chunk of its own."""
    sent = request("POST", "sink.unmapped.example", "/things", b"", "Transfer-Encoding: chunked")
    with Wire.tunnel(agent, address, "sink.unmapped.example", timeout=60) as wire:
        wire.send(sent)
        begun.release()
        while True:
            wire.send(b"1\r\na\r\n" * 40_000)


def reading() -> None:
    """What costs the most to read for its length: thousands of names in a query, documents in a GraphQL request."""
    names = "&".join(["a=", *(f"{number:x}=" for number in range(4_000)), "a="])
    document = "{" + " ".join(["a"] * 2_300) + "}"
    asked = (
        request("GET", "api.github.com", f"/search/issues?{names}"),
        request(
            "POST",
            "api.github.com",
            "/graphql",
            json.dumps([{"query": document.replace("a", f"a{number}", 1)} for number in range(50)]).encode(),
            "Content-Type: application/json",
        ),
    )
    with Wire.tunnel(agent, address, "api.github.com", timeout=60) as wire:
        while True:
            wire.ask(asked[next(numbers) % 2])
            begun.release()


def forever(kind: str) -> None:
    """Once more, and again."""
    while True:
        try:
            globals()[kind]()
        except (OSError, ssl.SSLError, ConnectionOver, ConnectRefused):
            time.sleep(0.05)


for kind, count in threads.items():
    for _ in range(count):
        threading.Thread(target=forever, args=(kind,), daemon=True).start()
for _ in range(sum(threads.values())):
    begun.acquire()
print('"begun"', flush=True)
threading.Event().wait()
