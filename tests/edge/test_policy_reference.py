"""docs/policy.md and the schemas say what the program does: every key, name and code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from douane.core.decision import Effect
from douane.core.policy import expression
from douane.core.policy.policy import TIER_CODES, UNEVALUABLE_CODE, UNMAPPED_CODE
from douane.core.refusal import ReasonCode
from douane.core.tool import Nature
from douane.edge.catalog import load_catalog
from douane.edge.home import shipped_policy_dir
from douane.edge.policy import check_names, load_policy
from douane.edge.policy.schema import (
    BudgetPart,
    CasePart,
    DestinationsPart,
    HoldPart,
    LimitPart,
    Part,
    PolicyFile,
    RulePart,
    TiersPart,
    json_schema,
)

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "policy.md").read_text()
CODE_WORDS = {word for span in re.findall(r"`([^`\n]+)`", REFERENCE) for word in re.findall(r"[A-Za-z0-9_.-]+", span)}


@pytest.mark.parametrize(
    ("part", "prefix"),
    [
        (PolicyFile, ""),
        (HoldPart, "hold."),
        (TiersPart, "tiers."),
        (DestinationsPart, "destinations."),
        (BudgetPart, ""),
        (LimitPart, ""),
        (RulePart, ""),
        (CasePart, ""),
    ],
)
def test_every_key_is_documented(part: type[Part], prefix: str) -> None:
    for name, found in part.model_fields.items():
        key = prefix + (found.alias or name)
        holds_keys = {"hold": "hold.wait", "tiers": "tiers.visible", "destinations": "destinations.private"}
        assert holds_keys.get(key, key) in CODE_WORDS, key
        assert found.description


def test_every_code_is_documented_in_order() -> None:
    codes = [code.value for code in ReasonCode]
    assert set(codes) <= CODE_WORDS
    listed = re.findall(r"^\| `([a-z_]+)` \|", REFERENCE.partition("## Reason codes")[2], re.MULTILINE)
    assert listed[: len(codes)] == codes
    own = {UNEVALUABLE_CODE, UNMAPPED_CODE, *TIER_CODES.values()}
    shipped = {code for rule in load_policy(shipped_policy_dir()).policy.rules for code in rule.reason_codes}
    assert own | shipped <= CODE_WORDS


def test_every_word_of_rules_and_conditions_is_documented() -> None:
    assert {effect.value for effect in Effect} | {nature.value for nature in Nature} <= CODE_WORDS
    assert set(expression.VARIABLES) | expression.FUNCTIONS <= CODE_WORDS


@pytest.mark.parametrize(("name", "part"), [("policy", PolicyFile), ("cases", CasePart)])
def test_the_schemas_are_those_of_the_program(name: str, part: type[Part]) -> None:
    written = (ROOT / "policy" / "schema" / f"{name}.schema.json").read_text()
    assert written == json_schema(part), "run: python -m douane.edge.policy.schema policy/schema"
    json.loads(written)


def test_the_recipes_are_policies(tmp_path: Path) -> None:
    recipes = REFERENCE.partition("## Recipes")[2]
    (text,) = re.findall(r"```yaml\n(.*?)```", recipes, re.DOTALL)
    (tmp_path / "policy.yaml").write_text("version: 1\n" + text)
    loaded = load_policy(tmp_path)
    assert len(loaded.policy.rules) == 4
    assert check_names(loaded, load_catalog()) == ([], [])
