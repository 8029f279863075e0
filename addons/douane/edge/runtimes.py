"""What each runtime needs in its environment to go through the proxy, and to trust its CA."""

from __future__ import annotations

from pathlib import Path

NO_PROXY = "localhost,127.0.0.1,::1"


def environment(proxy: str, ca_cert: Path) -> dict[str, str]:
    """The variables of a governed process; `proxy` is `http://NAME:KEY@HOST:PORT`."""
    proxies = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
    bundles = (
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
        "AWS_CA_BUNDLE",
        "HTTPLIB2_CA_CERTS",
        "DENO_CERT",
        "PIP_CERT",
        "CARGO_HTTP_CAINFO",
    )
    return {
        **dict.fromkeys(proxies, proxy),
        **dict.fromkeys(bundles, str(ca_cert)),
        "NO_PROXY": NO_PROXY,
        "no_proxy": NO_PROXY,
        "NODE_USE_ENV_PROXY": "1",
    }
