"""The policy folder: read, checked, tested by its cases, compared with what is in force."""

from douane.edge.policy.cases import CaseFailure, count_cases, facts_of, run_cases
from douane.edge.policy.difference import difference
from douane.edge.policy.load import LoadedPolicy, NamedTool, PolicyInvalid, load_policy, policy_from_text
from douane.edge.policy.names import check_names
from douane.edge.yaml import Problem

__all__ = [
    "CaseFailure",
    "LoadedPolicy",
    "NamedTool",
    "PolicyInvalid",
    "Problem",
    "check_names",
    "count_cases",
    "difference",
    "facts_of",
    "load_policy",
    "policy_from_text",
    "run_cases",
]
