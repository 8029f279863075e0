"""Every default addon of mitmproxy is kept or dropped on purpose."""

from mitmproxy import addons, version

from douane.gateway.default_addons import DROPPED, KEPT
from douane.gateway.internals import MITMPROXY_VERSION


def test_each_default_addon_is_kept_or_dropped() -> None:
    names = {type(addon).__name__ for addon in addons.default_addons()}
    assert names == KEPT.keys() | DROPPED.keys()
    assert not KEPT.keys() & DROPPED.keys()


def test_internals_are_written_for_this_mitmproxy() -> None:
    assert version.VERSION == MITMPROXY_VERSION
