"""Faults of telling whose a Stripe customer is: by its label's ledger, and by what Stripe has deleted."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_LOST = "tests/billing/test_lost_customers.py"
_ANEW = "tests/billing/test_recreated_customers.py"
_BINDING = "gateway/sync/binding.py"

MUTANTS = (
    Mutant(
        "every label that no customer is found for is this ledger's",
        "gateway/core/adoption.py",
        "        return self.claimed_id is not None and (self.ledger_id or UNNAMED) in ledgers\n",
        "        return self.claimed_id is not None\n",
        ("tests/core/test_adoption.py", _LOST),
    ),
    Mutant(
        "an event about a lost customer is another gateway's",
        "gateway/sync/lost.py",
        "        if claimed.ledger_id != await self._ledger.find_ledger_id():\n",
        "        if claimed.ledger_id:\n",
        (_LOST,),
    ),
    Mutant(
        "every event of a lost customer is dead",
        "gateway/sync/lost.py",
        "        if event_id not in {row.event_id for row in rows}:\n",
        "        if not event_id:\n",
        (_LOST,),
    ),
    Mutant(
        "nobody looks at Stripe for a buyer who has no Stripe customer",
        _BINDING,
        "    found = await find_made(sync, row)\n",
        "    found = None\n",
        (_LOST, _ANEW),
    ),
    Mutant(
        "of several accounts of one buyer the first is taken",
        _BINDING,
        "    if len(made) > 1:\n",
        "    if len(made) > 9:\n",
        (_LOST,),
    ),
    Mutant(
        "a binding is replaced while Stripe has its customer",
        _BINDING,
        "    return not await account.has_customer(bound) and await account.has_customer(by)\n",
        "    return await account.has_customer(by)\n",
        (_ANEW,),
    ),
    Mutant(
        "a binding goes to a customer that is deleted itself",
        _BINDING,
        "    return not await account.has_customer(bound) and await account.has_customer(by)\n",
        "    return not await account.has_customer(bound)\n",
        (_ANEW,),
    ),
    Mutant(
        "the import never asks whether the old one is deleted",
        "gateway/adopting.py",
        "        return None if await self._sync.billing.account.has_customer(had) else had\n",
        "        return None\n",
        (_ANEW,),
    ),
)
