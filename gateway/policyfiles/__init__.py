"""The only package that reads YAML: policy files in, one compiled policy or every fault out.

A file passes through sources (bytes), document (a tree with places), the sections (tiers,
plans, routes, lifecycle), consistency (what holds between sections) and compiler (the value
that everything else reads). `PolicyHolder` repeats this when the files change.
"""

from gateway.core.limit_text import LimitInvalid, limit_words, parse_key_limit
from gateway.policyfiles.cautions import find_gone_plans, find_restarts
from gateway.policyfiles.compiler import CompiledPolicy, compile_policy, load_policy
from gateway.policyfiles.faults import Caution, Fault, Place, PolicyInvalid
from gateway.policyfiles.holder import PolicyHolder
from gateway.policyfiles.last_good import LastGood
from gateway.policyfiles.sources import Sources, read_sources

__all__ = [
    "Caution",
    "CompiledPolicy",
    "Fault",
    "LastGood",
    "LimitInvalid",
    "Place",
    "PolicyHolder",
    "PolicyInvalid",
    "Sources",
    "compile_policy",
    "find_gone_plans",
    "find_restarts",
    "limit_words",
    "load_policy",
    "parse_key_limit",
    "read_sources",
]
