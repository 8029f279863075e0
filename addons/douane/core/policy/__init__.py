"""Policy: rules with conditions, compiled once, decided on for every call."""

from douane.core.policy.allotment import DEFAULT_BUDGET, BudgetRule, CountRule, LimitRule, Uncountable, Whom
from douane.core.policy.condition import Condition, NotEvaluable, usd_function
from douane.core.policy.expression import ConditionInvalid
from douane.core.policy.policy import RANK, Policy, Settings
from douane.core.policy.rule import Names, Rule, Selectors

__all__ = [
    "DEFAULT_BUDGET",
    "RANK",
    "BudgetRule",
    "Condition",
    "ConditionInvalid",
    "CountRule",
    "LimitRule",
    "Names",
    "NotEvaluable",
    "Policy",
    "Rule",
    "Selectors",
    "Settings",
    "Uncountable",
    "Whom",
    "usd_function",
]
