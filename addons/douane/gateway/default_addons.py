"""mitmproxy's default addons: which the node keeps, which it drops, and what stands in for the protections."""

from __future__ import annotations

KEPT = {
    "NextLayer": "chooses the next protocol layer; ProtocolGuard checks its choice",
    "Proxyserver": "defines the options of the proxy core; our own Listener serves the port",
    "TlsConfig": "makes leaf certificates and verifies the provider's",
}

DROPPED = {
    "AntiCache": "rewrites requests",
    "AntiComp": "rewrites requests; the plan of a metered call asks for plain encoding itself",
    "Block": "blocks clients by address; the listener is loopback and every request is authenticated",
    "BlockList": "mitmproxy's string rules; the policy decides",
    "Browser": "starts browsers",
    "ClientPlayback": "sends requests that nobody decided on",
    "CommandHistory": "belongs to the terminal UI",
    "Comment": "belongs to the UIs",
    "Core": "commands that change flows and options",
    "Cut": "exports flows",
    "DisableH2C": "matches `h2c` in lower case only; the gate strips the upgrade in any case",
    "DnsResolver": "serves DNS modes; the dialer resolves",
    "Export": "exports flows with their credentials",
    "MapLocal": "answers from local files",
    "MapRemote": "redirects requests after the decision",
    "ModifyBody": "rewrites what was decided on",
    "ModifyHeaders": "rewrites what was decided on",
    "Onboarding": "serves the CA on a magic host name",
    "ProxyAuth": "keeps the password in flow metadata, lets the header through in tunnels; Authenticate replaces it",
    "Save": "writes flows with their credentials to disk",
    "SaveHar": "writes flows with their credentials to disk",
    "ScriptLoader": "hot-reloads scripts and fails open",
    "ServerPlayback": "answers from recordings",
    "StickyAuth": "replays credentials",
    "StickyCookie": "replays cookies",
    "StripDnsHttpsRecords": "works on DNS flows, of which there are none",
    "UpdateAltSvc": "rewrites alt-svc in reverse mode only; the gate strips it always",
    "UpstreamAuth": "adds credentials for an upstream proxy",
}
