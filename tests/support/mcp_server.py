"""A real MCP server over TLS: `python mcp_server.py HOST LEAF.pem RAN.jsonl`. Prints its port; notes what it ran."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ToolAnnotations

host, leaf, ran = sys.argv[1:]
server = MCPServer("Ledgers")
going_on = asyncio.Event()


def note(tool: str, **arguments: object) -> None:
    with Path(ran).open("a") as lines:
        lines.write(json.dumps([tool, arguments]) + "\n")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def read_ledger(name: str) -> str:
    note("read_ledger", name=name)
    return f"{name} is balanced"


@server.tool()
def close_ledger(name: str) -> str:
    note("close_ledger", name=name)
    return f"{name} is closed"


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def tidy_ledger(name: str) -> str:
    note("tidy_ledger", name=name)
    return f"{name} is tidied"


@server.tool()
def delete_ledger(name: str) -> str:
    note("delete_ledger", name=name)
    return f"{name} is deleted"


@server.tool()
async def watch(context: Context) -> str:
    """Tells of its progress, and ends only when `go_on` is called meanwhile."""
    await context.report_progress(1, 2)
    await going_on.wait()
    return "watched"


@server.tool()
async def go_on() -> str:
    going_on.set()
    return "gone on"


@server.tool()
async def announce(context: Context) -> str:
    await context.session.send_tool_list_changed()
    return "announced"


async def main() -> None:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    app = server.streamable_http_app(host=host)
    config = uvicorn.Config(app, ssl_certfile=leaf, log_level="warning", timeout_graceful_shutdown=1)
    running = uvicorn.Server(config)
    listening.listen()
    print(listening.getsockname()[1], flush=True)
    await running.serve([listening])


asyncio.run(main())
