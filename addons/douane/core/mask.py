"""Secrets and hostile text, before anything is stored, logged or shown.

A secret is known by where it stands (a parameter's or member's name), by how it looks (vendors' prefixes, JWTs, keys,
card numbers), or by both (a text behind a name like `secret` inside another text). When in doubt it is masked.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

import orjson

MASK = "••••"
MOST_TEXT = 2_000
MOST_MEMBERS = 100
MOST_DEPTH = 8
MOST_TOTAL = 14_000
"""Bytes of JSON for one call's arguments; with what is left over at the edges they stay under 16 KB."""
MOST_READ = 100_000
"""Characters that are searched for credentials, which takes about a quarter of a microsecond each at worst."""

_MASKED_TEXT = """
key apikey accesskey secretkey privatekey signingkey token accesstoken refreshtoken idtoken authtoken
bearertoken secret secrets clientsecret password passwd passphrase passcode pwd authorization auth authn
credential credentials signature sig cookie cookies setcookie session sessionid sessiontoken bearer jwt pin cvc
cvv csc otp totp mfa assertion codeverifier iban pan ssn hmac salt nonce webhook webhookurl connectionstring dsn
accountnumber routingnumber cardnumber encryptedvalue sas xapikey apitoken pat
"""
_SECRET_WORDS = frozenset(_MASKED_TEXT.split())
"""Words that make a member a secret, alone or as a part of its name."""

_SECRET_NAMES = _SECRET_WORDS | {"pass", "passwort"}
"""What makes a member a secret only as its whole name: `pass_rate` is none."""

_PLAIN_TEXT = """
maxtokens mintokens totaltokens prompttokens completiontokens inputtokens outputtokens cachedtokens
reasoningtokens numtokens counttokens budgettokens thinkingbudgettokens maxcompletiontokens maxoutputtokens
maxinputtokens maxtokenstosample tokens tokentype tokencount keyid publickey idempotencykey cachekey
promptcachekey partitionkey sortkey primarykey foreignkey rowkey issuekey projectkey objectkey keyname keytype
keys sessions hooks events author authors authority authorid authoremail gitauthor secretname secrettype
secrettypes keyprefix signaturealgorithm authtype sessiontype passwordpolicy
"""
_PLAIN_NAMES = frozenset(_PLAIN_TEXT.split())
"""Names with such a word in them that hold none."""

_NUMBER_PARENTS = frozenset(
    {"card", "cards", "bankaccount", "externalaccount", "account", "source", "paymentmethoddata"}
)
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MOST_NAME = 200


def is_secret_name(name: str) -> bool:
    """Whether a member of this name holds a secret."""
    known = _KNOWN_NAMES.get(name)
    if known is None:
        known = _reads_secret(name)
        if len(_KNOWN_NAMES) < 4_096 and len(name) < 64:
            _KNOWN_NAMES[name] = known
    return known


_KNOWN_NAMES: dict[str, bool] = {}


def _reads_secret(name: str) -> bool:
    """By the words of the name's last part (`card[number]`: number), in whatever spelling they are joined."""
    parts = [part for part in re.split(r"[\[\].]+", name[:_MOST_NAME]) if part]
    for part in reversed(parts):
        words = [word.lower() for word in _WORDS.findall(part)]
        joined = "".join(words)
        if joined in _PLAIN_NAMES:
            return False
        if (
            joined in _SECRET_NAMES
            or joined.removesuffix("s") in _SECRET_WORDS
            or joined.endswith(("password", "secret", "apikey", "secretkey", "privatekey"))
        ):
            return True
        if any(word in _SECRET_WORDS for word in words):
            return True
        if any(a + b in _SECRET_WORDS for a, b in pairwise(words)):
            return True
    return _is_money_number(parts)


def _is_money_number(parts: list[str]) -> bool:
    """`card[number]`, `bank_account.account_number`: digits that are money."""
    if len(parts) < 2 or parts[-1].lower() not in ("number", "account_number", "routing_number"):
        return False
    return "".join(_WORDS.findall(parts[-2])).lower() in _NUMBER_PARENTS


_IDS = frozenset({"id", "ids", "name", "uuid", "guid", "sid", "arn", "identifier"})
_PATH_SECRETS_TEXT = """
token secret password passwd passphrase passcode pwd signature sig nonce salt jwt otp totp pin cvc cvv pan iban ssn
assertion bearer sas pat
"""
_PATH_SECRETS = frozenset(_PATH_SECRETS_TEXT.split())
"""Words that make a path's parameter a secret: there `session`, `webhook`, `credential` and `key` name resources."""
_PATH_KEYS = frozenset({"apikey", "secretkey", "privatekey", "accesskey", "signingkey", "accountnumber", "cardnumber"})
_KEYS_NAME_OBJECTS = frozenset({"aws"})
"""Where a path's bare `Key` is an object's name. Elsewhere it has been a webhook's secret, or an API key itself."""


def is_secret_in_path(name: str, provider: str | None) -> bool:
    """Whether a path's parameter, which names a resource, holds a secret for all that: a token, not a token's id."""
    words = [word.lower() for word in _WORDS.findall(name[:_MOST_NAME])]
    joined = "".join(words)
    if not words or words[-1] in _IDS or joined in _PLAIN_NAMES:
        return False
    if joined == "key":
        return provider not in _KEYS_NAME_OBJECTS
    return any(word in _PATH_SECRETS for word in words) or joined.endswith(tuple(_PATH_KEYS))


def is_secret_argument(name: str, provider: str | None) -> bool:
    """Whether a member of query or body holds a secret; at AWS `SecretId` and `AccessKeyId` name one."""
    if not is_secret_name(name):
        return False
    words = _WORDS.findall(name[:_MOST_NAME]) if provider in _NAMES_SECRETS_BY_ID else []
    return not words or words[-1].lower() not in _IDS


_NAMES_SECRETS_BY_ID = frozenset({"aws"})
"""Elsewhere a `secret_id` or `session_id` may be the half of a credential that opens the door."""


# By look. Each expression is linear: no part of it can match in two ways what another part matches.

_VENDOR = re.compile(
    r"\b(?:sk|rk|pk)-[A-Za-z0-9_-]{12,}|\b(?:sk|rk|pk|whsec|seti|pi|cs|acct_sess)_[A-Za-z0-9_]*(?:secret|live|test)_[A-Za-z0-9_]{8,}"
    r"|\bwhsec_[A-Za-z0-9+/=]{12,}|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bgl(?:pat|dt|rt|cbt|ptt)-[A-Za-z0-9_-]{16,}"
    r"|\bxox[a-z]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}|\bAIza[A-Za-z0-9_-]{30,}|\bya29\.[A-Za-z0-9._-]{20,}|\b1//0[A-Za-z0-9_-]{20,}"
    r"|\bGOCSPX-[A-Za-z0-9_-]{16,}|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b|\bgsk_[A-Za-z0-9]{20,}|\bxai-[A-Za-z0-9]{20,}"
    r"|\bhf_[A-Za-z0-9]{20,}|\bnpm_[A-Za-z0-9]{20,}|\bpypi-[A-Za-z0-9_-]{20,}|\bdop_v1_[a-f0-9]{32,}|\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}"
    r"|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|\b(?:SK|AC)[a-f0-9]{32}\b|\bkey-[a-f0-9]{32}\b|\blin_api_[A-Za-z0-9]{20,}"
    r"|\bntn_[A-Za-z0-9]{20,}|\bsecret_[A-Za-z0-9]{30,}|\bpplx-[A-Za-z0-9]{20,}|\br8_[A-Za-z0-9]{20,}|\bdckr_pat_[A-Za-z0-9_-]{16,}"
    r"|\bsbp_[a-f0-9]{30,}|\btskey-[A-Za-z0-9-]{12,}|\bvercel_[A-Za-z0-9_]{20,}|\bhvs\.[A-Za-z0-9_-]{20,}|\bATATT[A-Za-z0-9_=-]{20,}"
    r"|\bopenai-insecure-api-key\.[^\s,;\"']+"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}(?:\.[A-Za-z0-9_-]*){0,3}|\b\d{6,}:[A-Za-z0-9_-]{24,}"
)
"""Vendors' own prefixes, JSON web tokens, Telegram's bot tokens."""

_SCHEME = re.compile(
    r"\b(Bearer|Basic|Token|Digest|AWS4-HMAC-SHA256|Bot)\s+(?=[^\s]{8})[^\s\"',;]+(?:,\s*[A-Za-z]+=[^\s\"',;]+)*",
    re.IGNORECASE,
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
)
_USERINFO = re.compile(r"(?<=://)[^/\s:@]{0,200}:[^/\s@]{1,200}(?=@)")
_WEBHOOK = re.compile(
    r"(?<=/services/)T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{12,}|(?<=/workflows/)[A-Z0-9]{6,}/[A-Z0-9]{6,}/[A-Za-z0-9/]{12,}"
    r"|(?<=/webhooks/)\d{10,}/[A-Za-z0-9_-]{20,}|(?<=/webhookb2/)[A-Za-z0-9@_/-]{20,}|(?<=/bot)\d{6,}:[A-Za-z0-9_-]{10,}"
)
"""Paths that are credentials: Slack, Discord, Teams, Telegram."""

_NAMED = re.compile(
    r"(?<![A-Za-z0-9_.-])([A-Za-z_][A-Za-z0-9_.-]{0,60})([\"']?\s{0,3}(?:=>|=|:)\s{0,3})(\"[^\"\r\n]{4,}\"|'[^'\r\n]{4,}'|[^\s\"'&;,<>(){}\[\]]{6,})"
)
"""`password = hunter22`, `"api_key": "…"`, `token: …` inside a text."""

_SPOKEN = re.compile(
    r"\b((?:password|passphrase|passcode|secret|token|pin|api key)\s+(?:is|was)\s{1,3})(?=[^\s\d]{0,60}\d)\S{4,}",
    re.IGNORECASE,
)
"""`the password is hunter22`."""

_LONG_WORD = re.compile(r"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{32,}(?![A-Za-z0-9_-])")
_CARD = re.compile(r"(?<![\dA-Za-z])\d(?:[ -]?\d){12,18}(?![\dA-Za-z])")


def mask_text(text: str) -> str:
    """A text without what looks like a credential."""
    return _mask(text, _LOOKS)


def mask_resource(name: str, value: str, provider: str | None) -> str:
    """The value of a path's parameter: shown where it says which resource a call is about, secrets masked."""
    if is_secret_in_path(name, provider):
        return MASK if value else value
    words = _WORDS.findall(name[:_MOST_NAME])
    return _mask(value, _ID_LOOKS if words and words[-1].lower() in _IDS else _LOOKS)


def _mask(text: str, looks: _Looks) -> str:
    if len(text) < 13 and "=" not in text and ":" not in text:
        return text  # too short for any credential that is known by its look
    for pattern, replacement in looks:
        text = pattern.sub(replacement, text)
    return text


def _named(found: re.Match[str]) -> str:
    name, between, value = found.groups()
    return f"{name}{between}{MASK}" if is_secret_name(name) and value.strip("\"'") not in _NO_SECRETS else found[0]


_NO_SECRETS = frozenset({MASK, "required", "optional", "string", "undefined", "Bearer", "Basic", "Token", "Digest"})


def _long_word(found: re.Match[str]) -> str:
    """Random text mixes letters of both cases and digits within its words; names, UUIDs and commit ids do not."""
    word = found[0][:128]
    kinds = any(ch.isdigit() for ch in word) + any(ch.islower() for ch in word) + any(ch.isupper() for ch in word)
    if kinds < 3:
        return found[0]
    changes = sum(_kind(a) != _kind(b) and "-" not in (a, b) and "_" not in (a, b) for a, b in pairwise(word))
    return MASK if changes * 4 >= len(word) else found[0]


def _kind(ch: str) -> int:
    return 0 if ch.isdigit() else 1 if ch.islower() else 2


def _card(found: re.Match[str]) -> str:
    """Digits that pass Luhn's check, but for the last four."""
    digits = [int(ch) for ch in found[0] if ch.isdigit()]
    total = sum(d if at % 2 == 0 else d * 2 - 9 * (d > 4) for at, d in enumerate(reversed(digits)))
    return f"{MASK}{found[0][-4:]}" if total % 10 == 0 and digits[0] in (2, 3, 4, 5, 6) else found[0]


def _scheme(found: re.Match[str]) -> str:
    return f"{found[1]} {MASK}"


type _Replacement = str | Callable[[re.Match[str]], str]

type _Looks = tuple[tuple[re.Pattern[str], _Replacement], ...]

_LOOKS: _Looks = (
    (_PRIVATE_KEY, MASK),
    (_USERINFO, MASK),
    (_WEBHOOK, MASK),
    (_SCHEME, _scheme),
    (_VENDOR, MASK),
    (_NAMED, _named),
    (_SPOKEN, rf"\1{MASK}"),
    (_LONG_WORD, _long_word),
    (_CARD, _card),
)
_ID_LOOKS: _Looks = tuple(look for look in _LOOKS if look[0] is not _LONG_WORD)
"""An id may be random: a file of Drive is known by nothing else."""


# Structures


def mask_arguments(
    arguments: Mapping[str, Any], provider: str | None = None, in_path: Collection[str] = ()
) -> dict[str, Any]:
    """Arguments fit to be stored and shown: secrets masked, long values cut with their length said, 16 KB at most.

    Those in the path name the resource of the call, and are masked only for what they are.
    """
    masking = _Masking(provider)
    shown: dict[str, Any] = {}
    for name in in_path:  # first, so that no long body takes their room
        value = arguments.get(name)
        if isinstance(value, str):
            shown[name] = masking.text(value, MOST_TEXT, functools.partial(mask_resource, name, provider=provider))
    rest = {name: value for name, value in arguments.items() if name not in shown}
    masked = masking.value("", rest, 0)
    assert isinstance(masked, dict)
    return shown | masked


class _Masking:
    """One pass over one call's arguments, within what is left of its room."""

    __slots__ = ("left", "provider", "unread")

    def __init__(self, provider: str | None) -> None:
        self.provider = provider
        self.left = MOST_TOTAL
        self.unread = MOST_READ

    def value(self, name: str, value: Any, depth: int) -> Any:
        self.left -= 4
        if isinstance(value, str):
            return MASK if value and is_secret_argument(name, self.provider) else self.text(value, MOST_TEXT)
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return self._number(name, value)
        if depth >= MOST_DEPTH or self.left <= 0:
            return "…"
        if isinstance(value, Mapping):
            return self._mapping(name, value, depth)
        if isinstance(value, list | tuple):
            items = []
            for item in value[:MOST_MEMBERS]:
                if self.left <= 0:
                    break
                items.append(self.value(name, item, depth + 1))
            return items if len(items) == len(value) else [*items, f"… {len(value) - len(items)} more"]
        return MASK

    def _mapping(self, name: str, value: Mapping[Any, Any], depth: int) -> Any:
        found: dict[str, Any] = {}
        seen = 0
        called = value.get("name", value.get("key"))
        named = called if isinstance(called, str) and is_secret_name(called) else None
        for key, item in value.items():
            if seen >= MOST_MEMBERS or self.left <= 0:
                break
            seen += 1
            shown = self.text(str(key), _MOST_NAME)
            inner = f"{name}.{key}" if name else str(key)
            if named is not None and key == "value":  # {"name": "password", "value": …}
                inner = f"{inner}.{named}"
            found[shown] = self.value(inner, item, depth + 1)
        if seen < len(value):
            found["…"] = f"{len(value) - seen} more"
        return found

    def _number(self, name: str, value: float) -> Any:
        self.left -= 8
        if is_secret_argument(name, self.provider):
            return MASK
        if isinstance(value, int) and -(2**53) < value < 2**53:
            return value
        return f"{value:.12g}" if isinstance(value, float) else "a number out of range"

    def text(self, value: str, most: int, mask: Callable[[str], str] = mask_text) -> str:
        """A text, masked before it is cut, so that no cut takes a secret's tell-tale beginning away."""
        room = max(0, min(most, self.left))
        read = value[: max(0, min(2 * most, self.unread))]
        self.unread -= len(read)
        shown = mask(read)
        if not shown.isascii():
            shown = shown.encode("utf-8", "backslashreplace").decode()  # lone surrogates have no UTF-8
        whole = len(read) == len(value)
        size = len(orjson.dumps(shown))
        if whole and len(shown) <= room and size <= self.left:
            self.left -= size
            return shown
        # The end of what was read may be the first half of a secret that cannot be told by its look any more.
        shown = shown[: room if whole else min(room, len(shown) // 2)]
        if (size := len(orjson.dumps(shown))) > self.left:
            shown = shown[: max(0, self.left) // 6]
            size = len(orjson.dumps(shown))
        self.left -= size + 24
        return f"{shown}… ({len(value)} characters)"


_PATH_KEY = re.compile(
    r"((?<=/)(?:key|token|password|pass|secret|api[_-]?key)/)(?=[^/\d]{0,60}\d)[^/]{8,}", re.IGNORECASE
)
"""A path's segment behind one that says what it is: `/with/key/…`."""
_LONG_HEX = re.compile(r"(?<![A-Za-z0-9:_-])[0-9a-fA-F]{48,}(?![A-Za-z0-9_-])")
"""In a path longer than any commit id, and not said to be a hash (`sha256:…`)."""
_MOST_CODE = 16


def mask_target(target: bytes) -> str:
    """A request target for people: values of secret-named parameters and what looks like a credential masked."""
    path, question, query = target.decode("latin-1").partition("?")
    shown = _LONG_HEX.sub(MASK, _PATH_KEY.sub(rf"\1{MASK}", _mask_encoded(path)))
    if question:
        shown += "?" + "&".join(_mask_parameter(part) for part in query.split("&"))
    return printable(shown)


def _mask_parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    plain = unquote(name)
    if value and (is_secret_name(plain) or (plain in ("code", "k") and len(value) >= _MOST_CODE)):
        return f"{_mask_encoded(name)}={MASK}"
    return f"{_mask_encoded(name)}{equals}{_mask_encoded(value)}"


def _mask_encoded(text: str) -> str:
    """A percent-encoded text as it stands, or decoded and masked where the encoding hides something."""
    masked = mask_text(text)
    if "%" not in text:
        return masked
    plain = unquote(text, errors="replace")
    hidden = mask_text(plain)
    return masked if hidden == plain else hidden


_ODD = frozenset({"Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"})
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing."""


def printable(text: str) -> str:
    """A text in which control, bidirectional, invisible and odd space characters are escaped as `\\u{…}`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\u{{{ord(ch):x}}}"
        if ch in _BLANK or unicodedata.category(ch) in _ODD or (ch.isspace() and ch != " ")
        else ch
        for ch in text
    )
