"""Faults in what a change of a subscription may do: at which price, to which subscription, and for whom."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_WISHING = "gateway/sync/wishing.py"

MUTANTS = (
    Mutant(
        "more seats of a plan move it to the plan's present price",
        _WISHING,
        "item if plan == current.plan else await changes.fetch_price(plan)",
        "await changes.fetch_price(plan)",
        ("tests/billing/test_kept_price.py",),
    ),
)
