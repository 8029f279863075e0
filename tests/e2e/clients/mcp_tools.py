"""An agent's MCP client, configured by its environment only: `mcp_tools.py URL MODE [[TOOL, ARGUMENTS], …]`.

Prints what it got, a JSON document a line.
"""

import asyncio
import json
import sys

import anyio
from mcp import Client, MCPError
from mcp_types import ToolListChangedNotification


def tell(**told: object) -> None:
    print(json.dumps(told), flush=True)


async def main(url: str, mode: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    changed = anyio.Event()

    async def heard(message: object) -> None:
        if isinstance(message, ToolListChangedNotification):
            changed.set()

    moves = anyio.Event()

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        tell(progress=progress)
        moves.set()

    async def go_on(client: Client) -> None:
        await moves.wait()
        await client.call_tool("go_on", {})

    async with Client(url, mode=mode, message_handler=heard) as client, anyio.create_task_group() as group:
        tell(tools=sorted(tool.name for tool in (await client.list_tools()).tools))
        for name, arguments in calls:
            if name == "watch":
                group.start_soon(go_on, client)
            try:
                answer = await client.call_tool(name, arguments, progress_callback=progressed)
                tell(text=answer.content[0].text)
            except MCPError as error:
                tell(code=error.error.code, message=error.error.message, data=error.error.data)
            while name == "announce" and not changed.is_set():  # until the server has its stream to tell it on
                with anyio.move_on_after(0.2):
                    await changed.wait()
                    break
                await client.call_tool(name, arguments)
            if name == "announce":
                tell(changed=changed.is_set())


asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
