"""What can be told of a condition before it is ever evaluated: the names it uses, and whether its work is bounded.

The library compiles and evaluates, but shows no syntax tree and has no limit of its own. So the source is read here
once more, as tokens, for four things: which arguments are looked at (only those are handed over), of which kind each
must be (CEL's `==` calls "10001" and 10001 unequal where `>` fails, and an agent chooses the kind), what loops there
are, and whether a regular expression could come from the agent.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

MOST_CHARACTERS = 2_000
MOST_LOOPS = 4
MOST_PATTERN = 200

VARIABLES = ("tool", "tier", "nature", "agent", "labels", "args", "host", "method", "cost")
LOOPS = frozenset({"all", "exists", "exists_one"})
FUNCTIONS = LOOPS | {"usd", "has", "size", "contains", "startsWith", "endsWith", "matches", "int", "double", "string"}

_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<string>[rR]?(?:'''(?:[^\\]|\\.)*?'''|\"\"\"(?:[^\\]|\\.)*?\"\"\"|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"))
    |(?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+|[0-9]+[uU]?)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_KINDS = {"string": "string", "number": "number", "true": "bool", "false": "bool", "null": "null"}

type Path = tuple[str, ...]


class ConditionInvalid(ValueError):
    """An expression that is not CEL, asks for something there is not, or could run without bound."""

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a source; `kind` is string, number, word, sign or end."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What the tokens of a condition tell."""

    arguments: frozenset[str] | None
    """The arguments it looks at; None: possibly all of them."""
    kinds: tuple[tuple[Path, frozenset[str]], ...]
    """Arguments that are compared with literals → the kinds that can be compared at all."""
    bound: frozenset[str]
    """Names that loops introduce."""
    words: frozenset[str]
    """Every name that stands before a parenthesis."""
    patterns: tuple[str, ...]
    """The literals that `matches` is given, quotes included."""
    costly: bool
    """It loops or matches patterns: less may be handed over."""


_END = Token("end", "")


def read(source: str) -> Reading:
    """Read a condition; raises `ConditionInvalid`."""
    if len(source) > MOST_CHARACTERS:
        raise ConditionInvalid(f"the condition is over {MOST_CHARACTERS} characters", "Split the rule.")
    tokens = _tokens(source)
    arguments, whole = _arguments(tokens)
    called = frozenset(
        token.text for token, after in itertools.pairwise(tokens) if token.kind == "word" and after.text == "("
    )
    if unknown := sorted(called - FUNCTIONS):
        raise ConditionInvalid(f"there is no function `{unknown[0]}`", f"There are: {', '.join(sorted(FUNCTIONS))}.")
    patterns = _patterns(tokens)
    bound = _check_loops(tokens)
    return Reading(
        arguments=None if whole else frozenset(arguments),
        kinds=_kinds(tokens),
        bound=bound,
        words=called,
        patterns=patterns,
        costly=bool(called & (LOOPS | {"matches"})),
    )


def _tokens(source: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise ConditionInvalid(f"not CEL at `{source[at : at + 20]}`", "See docs/policy.md for conditions.")
        at = match.end()
        kind = match.lastgroup or "sign"
        if kind != "space":
            found.append(Token(kind, match.group()))
    return [*found, _END, _END, _END]


def _literal(token: Token) -> str:
    text = token.text.lstrip("rR")
    return text[3:-3] if text[:3] in ("'''", '"""') else text[1:-1]


def _path(tokens: Sequence[Token], at: int) -> tuple[Path, int]:
    """The member path that begins at `args`, and where it ends; a method's name is no member."""
    path: Path = ()
    while True:
        sign, name, close = tokens[at : at + 3] if at + 3 <= len(tokens) else (_END, _END, _END)
        if sign.text == "." and name.kind == "word" and close.text != "(":
            path, at = (*path, name.text), at + 2
        elif sign.text == "[" and name.kind == "string" and close.text == "]" and "\\" not in name.text:
            path, at = (*path, _literal(name)), at + 3
        else:
            return path, at


def _starts(tokens: Sequence[Token]) -> list[int]:
    return [
        at
        for at, token in enumerate(tokens)
        if token.kind == "word" and token.text == "args" and (at == 0 or tokens[at - 1].text != ".")
    ]


def _arguments(tokens: Sequence[Token]) -> tuple[set[str], bool]:
    names: set[str] = set()
    whole = False
    for at in _starts(tokens):
        path, _ = _path(tokens, at + 1)
        if path:
            names.add(path[0])
        else:
            whole = True
    return names, whole


def _kinds(tokens: Sequence[Token]) -> tuple[tuple[Path, frozenset[str]], ...]:
    """Kinds of literals that arguments are compared with by `==`, `!=` and `in`."""
    found: dict[Path, set[str]] = {}
    for start in _starts(tokens):
        path, end = _path(tokens, start + 1)
        if not path or (tokens[end].text == "." and tokens[end + 2].text == "("):
            continue
        kinds = found.setdefault(path, set())
        if tokens[end].text in ("==", "!="):
            kinds |= _kind_of(tokens, end + 1)
        elif tokens[end].text == "in" and tokens[end + 1].text == "[":
            at = end + 2
            while at < len(tokens) and tokens[at].text != "]":
                kinds |= _kind_of(tokens, at)
                at += 1
        before = tokens[start - 1].text if start else ""
        if before in ("==", "!="):
            kinds |= _kind_of(tokens, start - 2)
        elif before == "in":
            kinds.add("container")
    return tuple((path, frozenset(kinds)) for path, kinds in found.items() if kinds)


def _kind_of(tokens: Sequence[Token], at: int) -> set[str]:
    token = tokens[at]
    if token.text == "-":
        token = tokens[at + 1]
    kind = _KINDS.get(token.kind) or _KINDS.get(token.text)
    return {kind} if kind else set()


def _patterns(tokens: Sequence[Token]) -> tuple[str, ...]:
    """Pattern literals; refuses a pattern that an agent could choose: compiling one is the costly part."""
    found: list[str] = []
    for at, token in enumerate(tokens[:-4]):
        if token.text == "matches" and tokens[at + 1].text == "(":
            pattern, close = tokens[at + 2], tokens[at + 3]
            if pattern.kind != "string" or close.text != ")" or len(pattern.text) > MOST_PATTERN:
                mend = f'Write the pattern out, up to {MOST_PATTERN} characters: host.matches("^api[.]").'
                raise ConditionInvalid("a pattern of `matches` that is not a short literal", mend)
            found.append(pattern.text)
    return tuple(found)


def _check_loops(tokens: Sequence[Token]) -> frozenset[str]:
    """Names bound by loops; refuses loops in loops, too many, and names that hide a variable."""
    bound: set[str] = set()
    loops = 0
    ends_at_depth: int | None = None
    depth = 0
    for at, token in enumerate(tokens[:-1]):
        if token.text in "([{" and token.kind == "sign":
            depth += 1
        elif token.text in ")]}" and token.kind == "sign":
            depth -= 1
            if ends_at_depth == depth:
                ends_at_depth = None
        if token.text not in LOOPS or token.kind != "word" or tokens[at + 1].text != "(":
            continue
        loops += 1
        if ends_at_depth is not None:
            raise ConditionInvalid("a loop within a loop", "An agent chooses how long its lists are; use one loop.")
        ends_at_depth = depth
        name = tokens[at + 2].text
        if name in VARIABLES or name in FUNCTIONS:
            raise ConditionInvalid(f"a loop over the name `{name}`, which is taken", "Take another name.")
        bound.add(name)
    if loops > MOST_LOOPS:
        raise ConditionInvalid(f"more than {MOST_LOOPS} loops", "Split the rule.")
    return frozenset(bound)
