"""The heuristic's part of the evidence ladder: it only ever raises, and no pattern makes a write or delete free."""

from __future__ import annotations

import re
from typing import Any

from catalog_sources.described import words

READ_METHODS = {"GET", "HEAD", "OPTIONS"}
RAISING = re.compile(
    r"(^|[-_./])(delete\w*|destroy\w*|remove\w*|purge\w*|erase\w*|wipe\w*|drop|empty|merge|publish\w*|deploy\w*|release\w*"
    r"|transfer|revoke\w*|rotate\w*|reset\w*|terminate\w*|cancel\w*|archive|disable\w*|permission\w*|collaborator\w*"
    r"|membership\w*|member|members|invit\w+|role\w*|hook\w*|webhook\w*|keys?|secret\w*|token\w*|credential\w*|password\w*"
    r"|dispatch|rerun\w*|re-run\w*|exec\w*|invoke\w*|command\w*|script\w*|sql|protection\w*|policy|policies|acl|acls"
    r"|ruleset\w*|visibility|access|accesses|budget\w*|grant\w*|authoriz\w+|rename|approve|installation\w*|send\w*|import"
    r"|refund\w*|payout\w*|transfer\w*|topup\w*|top_up\w*|reversal\w*|reverse|outbound_\w+|inbound_\w+|capture|pay|void\w*"
    r"|purchase\w*|order|orders|subscri\w+|charge|charges|payment|payments|buy|withdraw\w*"
    r"|close|reject|finalize\w*|accept|redact|uninstall|mark_uncollectible|submit\w*|stop|run|add_lines|regenerate\w*"
    r"|reveal\w*|jitconfig|registr\w+-token|money_management|process_payment\w*|confirm_payment\w*|certificate\w*|tunnels?"
    r"|spend_limit\w*|federation|workload_identity\w*|service_accounts?|private-registr\w+|org-private\w*"
    r"|deregister\w*|unregister\w*|detach\w*|disassociate\w*|restore\w*|rollback\w*|failover\w*|reboot\w*|shutdown|format"
    r"|promote|call|calls|sms|mail|email|emails|broadcast\w*|notify|kill|evict\w*|drain|suspend\w*|deactivate\w*|block"
    r"|rebuild\w*|reimage\w*|poweroff|power_off|retire"
    r"|truncate\w*|overwrite|replace|swap|impersonat\w+|elevat\w+|login|logout|sign|mfa|admin\w*|owner\w*)([-_./]|$)"
)
_NATURES = (
    ("delete", re.compile(r"(^|[-_./])(delete|destroy|remove|purge|erase|wipe|drop|empty|truncate|terminate|deregister)")),
    ("credential", re.compile(r"token|keys?([-_./]|$)|secret|credential|jitconfig|certificate|password|private-registr|mfa")),
    ("permissions", re.compile(r"permission|collaborator|member|invit|role|access|protection|ruleset|visibility|polic|acl|grant|owner|admin")),
    ("exec", re.compile(r"exec|invoke|command|script|sql|(^|[-_./])run([-_./]|$)|dispatch|rerun|re-run")),
    ("deploy", re.compile(r"merge|publish|deploy|release|promote|rollback")),
    ("money", re.compile(r"refund|payout|transfer|charge|capture|topup|payment|invoice|(^|[-_./])pay([-_./]|$)|credit|billing|subscription|purchase|order|money")),
    ("send", re.compile(r"send|mail|sms|(^|[-_./])calls?([-_./]|$)|notify|broadcast|message|comment")),
)  # fmt: skip
SECRET_READS = re.compile(
    r"secret_value|(^|[-_./])(get|batch_get|retrieve|read|reveal|describe|download|fetch)\w*_(secret|password|credential|private_key|session_token"
    r"|auth\w*_token|access_token|login_token|api_key|access_key|key_pair)s?(_value|_values|s)?($|[-_./])"
    r"|(^|[-_./])get_\w*_?token($|[-_./])|(secrets?|passwords?|credentials?)[-_./](get|access|reveal|retrieve|read)|access_secret|kubeconfig|connection_string|(^|[-_./])list_?keys($|[-_./])"
)


def guess(tool: str, method: str, *, declared: str = "") -> dict[str, Any]:
    """Tier, nature and evidence of an operation; `declared` is the provider's own word that it only reads."""
    name = words(tool.partition(".")[2])
    if method in READ_METHODS or declared:
        if SECRET_READS.search(name):
            return {"tier": "visible", "nature": "secret-read", "evidence": "heuristic: reads a secret"}
        return {"tier": "reversible", "nature": "read", "evidence": declared or f"HTTP {method}"}
    if method == "DELETE":
        return {"tier": "irreversible", "nature": "delete", "evidence": "HTTP DELETE"}
    nature = next((nature for nature, pattern in _NATURES if pattern.search(name)), "write")
    raised = RAISING.search(name)
    if raised:
        return {"tier": "irreversible", "nature": nature, "evidence": f"heuristic: {re.split('[-_]', raised[2])[0]}"}
    return {"tier": "visible", "nature": "write" if nature == "delete" else nature, "evidence": "heuristic: a write"}
