"""A bare mitmproxy master: the View that holds the reviews, the event store, the web application. No proxy, no CA."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from mitmproxy import flow, master, options
from mitmproxy.addons import eventstore, view
from mitmproxy.tools.web import webaddons

from douane.console.updates import Updates


class ConsoleMaster(master.Master):
    """What mitmweb's handlers expect of their master, and nothing else."""

    def __init__(self) -> None:
        super().__init__(options.Options(), asyncio.get_running_loop())
        self.view = view.View()
        self.view.sig_view_add.connect(self._added)
        self.view.sig_view_remove.connect(self._removed)
        self.view.sig_view_update.connect(self._updated)
        self.view.sig_view_refresh.connect(self._refreshed)
        self.events = eventstore.EventStore()
        self.proxyserver = SimpleNamespace(servers=())
        self.addons.add(webaddons.WebAddon(), self.view)
        self.options.update(web_open_browser=False, web_columns=["comment"])

    # mitmproxy's signals hold their receivers weakly: methods of a living object stay

    def _added(self, flow: flow.Flow) -> None:
        Updates.broadcast_flow("flows/add", flow)

    def _updated(self, flow: flow.Flow) -> None:
        Updates.broadcast_flow("flows/update", flow)

    def _removed(self, flow: flow.Flow, index: int) -> None:  # noqa: ARG002 - the signal's signature
        Updates.broadcast(type="flows/remove", payload=flow.id)

    def _refreshed(self) -> None:
        Updates.broadcast_flow_reset()


SHOWN_OPTIONS = ("web_columns", "content_view_lines_cutoff", "mode", "http2", "rawtcp", "websocket", "upstream_cert")


def shown_options(of: master.Master) -> dict[str, Any]:
    """The options that the UI needs to draw itself, in the form it reads; never a password."""
    found = {}
    for name in SHOWN_OPTIONS:
        if name in of.options:
            option = of.options._options[name]
            found[name] = {
                "type": "bool"
                if isinstance(option.default, bool)
                else "int"
                if isinstance(option.default, int)
                else "str",
                "default": option.default,
                "value": list(option.current()) if isinstance(option.current(), list | tuple) else option.current(),
                "help": "",
                "choices": None,
            }
        elif name in ("rawtcp", "websocket", "upstream_cert", "http2"):
            found[name] = {"type": "bool", "default": False, "value": False, "help": "", "choices": None}
    found["web_columns"]["type"] = "sequence of str"
    found.get("mode", {})["type"] = "sequence of str"
    return found
