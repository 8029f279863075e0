"""Run the console until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

import tornado.httpserver

from douane.api.client import ApiClient, ApiError, NodeNotRunning
from douane.console.app import MOST_BODY, ConsoleApplication
from douane.console.master import ConsoleMaster
from douane.console.sessions import Sessions
from douane.console.updates import Updates
from douane.edge.home import Home

CHECK_S = 5.0
MOST_HEAD = 16 * 1024
IDLE_S = 120.0
BODY_S = 10.0


class ConsoleError(Exception):
    """The console cannot start; the message is one clear line."""


def allowed_hosts(host: str, port: int) -> frozenset[str]:
    """The Host headers that the console answers to: its own address, and localhost where it listens on loopback."""
    names = {host, "localhost"} if host in ("127.0.0.1", "::1", "localhost") else {host}
    if host in ("127.0.0.1", "localhost"):
        names.add("127.0.0.1")
    return frozenset(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names)


async def serve(home: Home, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serve the console in the foreground until SIGINT or SIGTERM; raises `ConsoleError`."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    master = ConsoleMaster()
    sessions = Sessions(home.private / "console-sessions.json")
    client = ApiClient(home.api_socket)
    application = ConsoleApplication(master, client, sessions, allowed_hosts(host, port), secure=False)
    # Tornado's own limits let whoever connects hold 100 MB, for an hour.
    server = tornado.httpserver.HTTPServer(
        application,
        max_header_size=MOST_HEAD,
        max_body_size=MOST_BODY,
        max_buffer_size=2 * MOST_BODY,
        idle_connection_timeout=IDLE_S,
        body_timeout=BODY_S,
    )
    try:
        server.listen(port, host)
    except OSError as error:
        raise ConsoleError(
            f"cannot listen on {host}:{port}: {error.strerror}. Stop the other program or choose another address with "
            "--console HOST:PORT."
        ) from error
    tasks = [asyncio.create_task(application.feed.run()), asyncio.create_task(_end_sessions(application))]
    ready()
    try:
        await stop.wait()
    finally:
        for task in tasks:
            task.cancel()
        client.close()
        server.stop()
        for channel in list(Updates.connections):
            with contextlib.suppress(Exception):
                channel.close(1001, "stopping")
        await asyncio.gather(*tasks, return_exceptions=True)


async def _end_sessions(application: ConsoleApplication) -> None:
    """End the sessions of reviewers who were removed; close the update channel of every session that is over."""
    while True:
        await asyncio.sleep(CHECK_S)
        if application.sessions.reviewers():
            with contextlib.suppress(ApiError, NodeNotRunning, TimeoutError, OSError):
                found = await application.api("GET", "/v1/reviewers", timeout_s=CHECK_S)
                application.sessions.keep(row["name"] for row in found["reviewers"])
        for channel in list(Updates.connections):
            if application.session_of(channel) is None:
                channel.close(4401, "the session is over")
