"""mitmproxy's options, built in code and locked: a stray config file or a later change opens nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mitmproxy import addonmanager, exceptions, options

LOCKED: dict[str, Any] = {
    "mode": [],
    "server": False,
    "http2": False,
    "http3": False,
    "rawtcp": False,
    "websocket": True,
    "connection_strategy": "lazy",
    "upstream_cert": False,
    "validate_inbound_headers": True,
    "ssl_insecure": False,
    "stream_large_bodies": None,
    "body_size_limit": None,
    "store_streamed_bodies": False,
    "ignore_hosts": [],
    "allow_hosts": [],
    "tcp_hosts": [],
    "udp_hosts": [],
    "keep_host_header": False,
    "onboarding": False,
}
"""Options and the one value that each may have. Those that do not exist without their addon need no lock."""


class OptionsLocked(exceptions.OptionsError):
    """An option that would open a hole was changed."""


class LockedOptions:
    """The addon that sets the options once and refuses every later change."""

    def __init__(self, confdir: Path, upstream_ca: Path | None) -> None:
        self._wanted = {
            **LOCKED,
            "confdir": str(confdir),
            "ssl_verify_upstream_trusted_ca": str(upstream_ca) if upstream_ca else None,
        }
        self._set = False

    def apply(self, opts: options.Options) -> None:
        """Set all options that exist; to be called once, after all addons are loaded."""
        opts.update(**{name: value for name, value in self._wanted.items() if name in opts})
        self._set = True

    def load(self, loader: addonmanager.Loader) -> None:
        """Nothing to add: mitmproxy's own addons define the options."""

    def configure(self, updated: set[str]) -> None:
        """Raise when an option no longer has its one value."""
        from mitmproxy import ctx  # exists only once a master does

        if not self._set:
            return
        changed = [n for n in updated if n in self._wanted and getattr(ctx.options, n) != self._wanted[n]]
        if changed:
            raise OptionsLocked(f"options that may not change: {', '.join(sorted(changed))}")
