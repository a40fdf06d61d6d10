"""Faults in what the seller does: tiers by hand, customers that are imported, all of them read again."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_GRANT, _ADOPTION = "gateway/core/tier_grant.py", "gateway/core/adoption.py"
_RECONCILIATION, _COMPARING = "gateway/ledger/reconciliation.py", "gateway/sync/comparing.py"
_OF_GRANTS, _OF_ADOPTION = ("tests/core/test_tier_grant.py",), ("tests/core/test_adoption.py",)
_OF_RECONCILIATION = ("tests/ledger/test_reconciliation.py",)

MUTANTS = (
    Mutant(
        "a granted tier lifts a suspension",
        _GRANT,
        '    if now >= grant.ends_at or access.standing == "suspended":\n        return access\n',
        "    if now >= grant.ends_at:\n        return access\n",
        _OF_GRANTS,
    ),
    Mutant(
        "a granted tier never ends",
        _GRANT,
        '    if now >= grant.ends_at or access.standing == "suspended":\n        return access\n',
        '    if access.standing == "suspended":\n        return access\n',
        _OF_GRANTS,
    ),
    Mutant(
        "a granted tier lowers a higher one",
        _GRANT,
        "    if access.tier is not None and access.tier.rank >= tier.rank:\n",
        "    if access.tier is not None and access.tier.rank == tier.rank:\n",
        _OF_GRANTS,
    ),
    Mutant(
        "of two Stripe customers with one user id the first one is taken",
        _ADOPTION,
        "    if is_shared:\n",
        "    if is_shared and ours is not None:\n",
        _OF_ADOPTION,
    ),
    Mutant(
        "a reconciliation is taken from a worker that is at it",
        _RECONCILIATION,
        "            if row.claimed_by not in {None, worker} and (row.claimed_until or 0) > now:\n",
        "            if row.claimed_by not in {None, worker} and (row.claimed_until or 0) < now:\n",
        _OF_RECONCILIATION,
    ),
    Mutant(
        "a reconciliation that was broken off begins anew",
        _RECONCILIATION,
        "            if anew or row.cursor is None:\n",
        "            if anew or row.cursor is not None:\n",
        _OF_RECONCILIATION,
    ),
    Mutant(
        "a comparison calls everybody different",
        _COMPARING,
        "        if after == account.subscription:\n",
        "        if after is account.subscription:\n",
        ("tests/billing/test_reconciling.py",),
    ),
)
