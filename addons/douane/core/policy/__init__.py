"""Policy: rules with conditions, compiled once, decided on for every call."""

from douane.core.policy.condition import Condition, ConditionInvalid, usd_function
from douane.core.policy.policy import BudgetRule, LimitRule, Policy, Rule, Selectors

__all__ = [
    "BudgetRule",
    "Condition",
    "ConditionInvalid",
    "LimitRule",
    "Policy",
    "Rule",
    "Selectors",
    "usd_function",
]
