"""Faults in what the seller does: tiers by hand, customers that are imported, all of them read again."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_GRANT, _ADOPTION = "gateway/core/tier_grant.py", "gateway/core/adoption.py"
_RECONCILIATION, _COMPARING = "gateway/ledger/reconciliation.py", "gateway/sync/comparing.py"
_OF_GRANTS, _OF_ADOPTION = ("tests/core/test_tier_grant.py",), ("tests/core/test_adoption.py",)
_OF_RECONCILIATION = ("tests/ledger/test_reconciliation.py",)
_EVERYONE, _RECONCILING, _OF_ENDING = (
    "gateway/sync/everyone.py",
    "gateway/sync/reconciling.py",
    ("tests/billing/test_account.py",),
)
_OF_HOLDS = ("tests/billing/test_held_endings.py",)

MUTANTS = (
    Mutant(
        "who goes on with a reconciliation counts those that it ends anew",
        _RECONCILING,
        "            ended=0 if is_part and may_end is not None else row.ended,\n",
        "            ended=0,\n",
        _OF_ENDING,
    ),
    Mutant(
        "who is ended is not written down",
        _RECONCILING,
        "count=lambda: self._ledger.count_ended(self._worker)",
        "count=None",
        _OF_ENDING,
    ),
    Mutant(
        "a reconciliation ends whomever Stripe does not have",
        _EVERYONE,
        "                if not self.allowance.is_left(self.report.checked):\n",
        "                if False:\n",
        _OF_ENDING,
    ),
    Mutant(
        "after a hold the next run ends a few anew",
        _RECONCILING,
        "            is_holding=row.held_since is not None,\n",
        "",
        _OF_HOLDS,
    ),
    Mutant(
        "a run in which nobody is missing ends a hold of which nobody has heard",
        _RECONCILING,
        "ends_hold = True, may_end is not None and not report.held\n",
        "ends_hold = True, not report.held\n",
        _OF_HOLDS,
    ),
    Mutant(
        "who goes on reports its own part",
        _RECONCILING,
        "            report = part if is_part else joined(before, part, changed=await self._count_changed(row))\n",
        "            report = part\n",
        _OF_HOLDS,
    ),
    Mutant(
        "what is read from the middle is a reconciliation",
        _RECONCILING,
        "        is_part, is_complete, ends_hold = after is not None, False, False\n",
        "        is_part, is_complete, ends_hold = False, False, False\n",
        _OF_HOLDS,
    ),
    Mutant(
        "one whose claim ran out goes on counting for another",
        _RECONCILIATION,
        "            return await _change_claimed(connection, worker, ended=RECONCILIATION.c.ended + 1)\n",
        "            return await _change_claimed(connection, worker, ended=RECONCILIATION.c.ended + 1) or True\n",
        _OF_RECONCILIATION,
    ),
    Mutant(
        "a new reconciliation says again what the last one said",
        _RECONCILIATION,
        "                await connection.execute(delete(RECONCILIATION_NOTES))\n",
        "                pass\n",
        _OF_RECONCILIATION,
    ),
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
        "            if not is_part and (anew or row.cursor is None):\n",
        "            if not is_part and (anew or row.cursor is not None):\n",
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
