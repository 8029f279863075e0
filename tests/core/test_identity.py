"""All places that name a destination must agree."""

from typing import Any

import pytest

from douane.core.identity import canonical_host, one_destination
from douane.core.refusal import RequestAmbiguous

PLAIN: dict[str, Any] = {
    "scheme": "https",
    "target": ("api.github.com", 443),
    "hosts": ["api.github.com"],
    "authority": "",
    "tunnel": ("api.github.com", 443),
    "sni": "api.github.com",
    "tls": True,
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"hosts": ["API.GitHub.com"]},
        {"hosts": ["api.github.com."]},
        {"hosts": ["api.github.com:443"]},
        {"sni": "api.github.com."},
        {"authority": "api.github.com"},
        {"authority": "API.github.com:443"},
    ],
)
def test_spellings_of_one_destination_agree(change: dict[str, Any]) -> None:
    assert one_destination(**PLAIN | change) == ("api.github.com", 443)


@pytest.mark.parametrize(
    "change",
    [
        {"hosts": []},
        {"hosts": ["api.github.com", "api.github.com"]},
        {"hosts": ["gist.github.com"]},
        {"hosts": ["api.github.com:8443"]},
        {"hosts": ["user@api.github.com"]},
        {"hosts": ["api.github.com/x"]},
        {"authority": "evil.example"},
        {"authority": "api.github.com:80"},
        {"tunnel": ("evil.example", 443)},
        {"tunnel": ("api.github.com", 8443)},
        {"sni": "evil.example"},
        {"sni": None},
        {"target": ("evil.example", 443)},
        {"hosts": ["api.github.com:99999"]},
    ],
)
def test_any_disagreement_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RequestAmbiguous):
        one_destination(**PLAIN | change)


def test_ip_literal_needs_no_sni() -> None:
    call = PLAIN | {"target": ("192.0.2.1", 443), "hosts": ["192.0.2.1"], "tunnel": ("192.0.2.1", 443), "sni": None}
    assert one_destination(**call) == ("192.0.2.1", 443)


@pytest.mark.parametrize(
    "host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "a..b", "-a.example", "a b", "a%2eb", ""]
)
def test_odd_hosts_are_refused(host: str) -> None:
    with pytest.raises(RequestAmbiguous):
        canonical_host(host)


def test_idna_and_ipv6_have_one_spelling() -> None:
    assert canonical_host("BÜCHER.example") == "xn--bcher-kva.example"
    assert canonical_host("[2001:DB8:0::1]") == "2001:db8::1"
