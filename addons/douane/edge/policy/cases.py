"""Cases test a policy: each says what a call must come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from douane.core.catalog import Catalog
from douane.core.decision import Facts
from douane.core.policy import Policy
from douane.core.refusal import RequestAmbiguous
from douane.core.request import CanonicalRequest, canonicalise
from douane.core.request.typed import raw_request_of
from douane.core.tool import Classification
from douane.edge.policy.load import LoadedPolicy
from douane.edge.policy.read import read_case
from douane.edge.policy.schema import CasePart
from douane.edge.yaml import load_yaml

_EXPECTATIONS = ("effect", "rule", "tool", "tier", "reason_codes", "refused", "cap")


@dataclass(frozen=True, slots=True, order=True)
class CaseFailure:
    """A case that the policy does not meet."""

    file: str
    line: int
    call: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.call}: {self.message}"


def count_cases(directory: Path) -> int:
    """How many cases a policy folder has."""
    values = [load_yaml(file).value for file in sorted((directory / "cases").glob("*.yaml"))]
    return sum(len(value) for value in values if isinstance(value, list))


def run_cases(loaded: LoadedPolicy, catalog: Catalog, directory: Path) -> list[CaseFailure]:
    """Run `cases/*.yaml` of a folder."""
    failures: list[CaseFailure] = []
    for file in sorted((directory / "cases").glob("*.yaml")):
        document = load_yaml(file)
        failures += [CaseFailure(p.file, p.line, "cases", f"{p.message} → {p.mend}") for p in document.problems]
        if document.problems:
            continue
        if not isinstance(document.value, list):
            failures.append(CaseFailure(document.file, 1, "cases", "not a list → Write `- call: METHOD URL`."))
            continue
        for index, content in enumerate(document.value):
            case = read_case(document, index, content)
            if isinstance(case, CasePart):
                message = _run(loaded.policy, catalog, case)
                if message is not None:
                    failures.append(CaseFailure(document.file, document.line((index,)), case.call, message))
            else:
                failures += [CaseFailure(p.file, p.line, "cases", f"{p.message} → {p.mend}") for p in case]
    return sorted(failures)


def _run(policy: Policy, catalog: Catalog, case: CasePart) -> str | None:
    """What is otherwise than the case says, or None."""
    if all(getattr(case, name) is None for name in _EXPECTATIONS):
        return f"it expects nothing; add one of {', '.join(_EXPECTATIONS)}"
    method, _, url = case.call.partition(" ")
    headers = list(case.headers.items())
    if case.form is not None and case.body is not None:
        return "a call has `form` or `json`, not both"
    text = case.form if case.form is not None else case.body
    if text is not None:
        kind = "application/x-www-form-urlencoded" if case.form is not None else "application/json"
        headers.append(("Content-Type", kind))
    try:
        raw = raw_request_of(method, url.strip(), headers, (text or "").encode())
        request = canonicalise(raw)
        found = catalog.classify(request)
    except RequestAmbiguous as trap:
        return None if case.refused else f"refused: {trap}"
    except ValueError as error:
        return str(error)
    if case.refused:
        return f"expected a refusal, found {found.tool}"
    decision = policy.decide(facts_of(request, found, case.agent, case.labels, case.cost))
    cap = policy.budget(case.agent, case.labels, None).cap_nano
    came_to: dict[str, object] = {
        "effect": decision.effect.value,
        "rule": decision.rule,
        "tool": found.tool,
        "tier": found.tier.value,
        "reason_codes": list(decision.reason_codes),
        "cap": "none" if cap is None else cap,
    }
    wrong = [
        f"expected {key} {wanted}, found {value}"
        for key, value in came_to.items()
        if (wanted := getattr(case, key)) is not None and wanted != value
    ]
    return "; ".join(wrong) or None


def facts_of(
    request: CanonicalRequest, found: Classification, agent: str, labels: Mapping[str, str], cost_nano: int
) -> Facts:
    """The facts of a call, as admission puts them to the policy."""
    return Facts(
        tool=found.tool,
        tier=found.tier,
        nature=found.nature,
        mapped=found.mapped,
        agent=agent,
        labels=labels,
        args=found.arguments,
        host=request.host,
        method=request.method,
        cost_nano=cost_nano,
        operations=found.operations,
    )
