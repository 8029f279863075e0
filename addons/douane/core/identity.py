"""The one destination of a request: all the places that name it must agree."""

from __future__ import annotations

import functools
import ipaddress
import re

from douane.core.refusal import RequestAmbiguous

DEFAULT_PORTS = {"https": 443, "http": 80}

_LABELS = re.compile(r"^(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*$")
_AUTHORITY = re.compile(r"^(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\\]+)(?::(?P<port>[0-9]{1,5}))?$")


@functools.lru_cache(maxsize=4096)
def canonical_host(host: str) -> str:
    """A host in lower-case ASCII without trailing dot, an IP literal in its one spelling; raises `RequestAmbiguous`."""
    text = host.strip("[]") if host.startswith("[") else host
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    text = text.removesuffix(".").lower()
    if not text.isascii():
        try:
            text = text.encode("idna").decode("ascii")
        except UnicodeError:
            raise RequestAmbiguous("a host name that IDNA cannot encode") from None
    if len(text) > 253 or not _LABELS.match(text):
        raise RequestAmbiguous("a host name with characters that no host name has")
    if re.fullmatch(r"(0x[0-9a-f]+|[0-9]+)(\.(0x[0-9a-f]+|[0-9]+))*", text):
        raise RequestAmbiguous("an IP address in an unusual spelling")
    return text


@functools.lru_cache(maxsize=4096)
def canonical_authority(authority: str, scheme: str) -> tuple[str, int]:
    """Canonical host and port of `host[:port]`; raises `RequestAmbiguous`."""
    match = _AUTHORITY.match(authority)
    if match is None:
        raise RequestAmbiguous("an authority that is not host or host:port")
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise RequestAmbiguous("a port outside 1 to 65535")
    return canonical_host(match["host"]), port


def one_destination(
    *,
    scheme: str,
    target: tuple[str, int],
    hosts: list[str],
    authority: str,
    tunnel: tuple[str, int] | None,
    sni: str | None,
    tls: bool,
) -> tuple[str, int]:
    """The destination that CONNECT target, TLS SNI, Host header and absolute-form authority agree on.

    `target` is where the proxy would connect. An absent SNI is fine for IP literals. Raises `RequestAmbiguous`.
    """
    if len(hosts) != 1:
        raise RequestAmbiguous("no Host header" if not hosts else "more than one Host header")
    host, port = canonical_authority(hosts[0], scheme)
    if (canonical_host(target[0]), target[1]) != (host, port):
        raise RequestAmbiguous("a Host header that names another destination than the request's")
    if authority and canonical_authority(authority, scheme) != (host, port):
        raise RequestAmbiguous("an absolute-form authority that differs from the Host header")
    if tunnel is not None and tunnel != (host, port):
        raise RequestAmbiguous("a Host header that differs from the CONNECT target")
    if tls and tunnel is not None:
        if sni is None:
            if not _is_ip(host):
                raise RequestAmbiguous("a TLS connection without SNI")
        elif canonical_host(sni) != host:
            raise RequestAmbiguous("a TLS SNI that differs from the Host header")
    return host, port


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
