"""The UI's WebSocket: pushes changes of the list; a session that ends closes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mitmproxy import flow
from mitmproxy.tools.web import app as stock

if TYPE_CHECKING:
    from douane.console.sessions import Session

MOST_SEARCH = 200


class Search:
    """A search as plain text: mitmproxy's filter language would run a reviewer's regular expression in our loop."""

    def __init__(self, expression: str) -> None:
        self.pattern = expression[:MOST_SEARCH]
        words = self.pattern.lower().split()
        self._pending = "~marked" in words or "~pending" in words
        self._words = [word for word in words if word not in ("~marked", "~pending", "&", "|")]

    def __call__(self, found: flow.Flow) -> bool:
        """Whether a flow has all the words."""
        if self._pending and not getattr(found, "intercepted", False):
            return False
        text = found.comment.lower()
        return all(word in text for word in self._words)


class Updates(stock.ClientConnection):
    """mitmweb's update channel for those who are logged in."""

    connections: ClassVar[set[Any]] = set()
    session: Session | None = None

    def get_current_user(self) -> Any:
        """The reviewer, or None."""
        found = self.application.session_of(self)  # type: ignore[attr-defined]
        self.session = found
        return found.reviewer if found is not None else None

    def prepare(self) -> None:
        """Refuse who is not logged in before the protocol switches."""
        if self.current_user is None:
            self.set_status(403)
            self.finish()

    def update_filter(self, name: str, expr: str) -> None:
        """Search in plain text."""
        found = None
        if expr and name in ("search", "highlight"):
            search = Search(expr)
            self.filters[name] = search  # type: ignore[assignment]
            found = [f.id for f in self.application.master.view if search(f)]
        else:
            self.filters.pop(name, None)
        self.send(
            self._json_dumps({"type": "flows/filterUpdate", "payload": {"name": name, "matching_flow_ids": found}})
        )
