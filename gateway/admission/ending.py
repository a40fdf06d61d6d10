"""What becomes of a charge when its call ends: it is given back, it is corrected, or its Idempotency-Key is free.

Quotas only; rates count attempts and get nothing back. What was let in without the cache is corrected where it is
owed, until it has been charged back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.admission.attempt import Attempt, Returned, Settled, receipt_of
from gateway.cache import Cache, Receipt, prepare_once_end, prepare_once_refund, prepare_settlement
from gateway.core.charge import QuotaClaim
from gateway.core.errors import CapacityReduced, LedgerUnavailable
from gateway.core.planned import real_costs
from gateway.outages import Outages
from gateway.publishing import Publisher


class Ending:
    """Ends the charges of admitted attempts."""

    def __init__(self, cache: Cache, publisher: Publisher, outages: Outages) -> None:
        self._cache = cache
        self._publisher = publisher
        self._outages = outages

    async def refund(self, attempt: Attempt) -> Returned:
        """Give back to quotas what an admitted attempt was charged, once, and free its Idempotency-Key."""
        receipt, call = receipt_of(attempt), attempt.once
        if attempt.outage is not None:
            if not attempt.outage.parts:
                return "nothing"
            if self._outages.correct(attempt.outage, [0] * len(receipt.parts)):
                return "given-back"
        if not receipt.parts and call is None:
            return "nothing"
        try:
            if call is None:
                units, *_ = await self._send(receipt.customer_id, prepare_settlement(receipt, [0] * len(receipt.parts)))
            else:
                units, *_ = await self._send(receipt.customer_id, prepare_once_refund(receipt, call))
        except (CapacityReduced, LedgerUnavailable):
            return "lost"
        attempt.once = None
        return "given-back" if units else "nothing"

    async def settle(self, attempt: Attempt, costs: Mapping[str, int]) -> Settled:
        """Correct what an admitted attempt was charged to what it cost, once. Quotas only.

        What it cost more is spent as a charge is, on the quota, its credits and overage; what none of them covers
        counts on the quota above its limit.

        Args:
            attempt: Not refunded; whichever comes first counts.
            costs: Units by meter. In a meter that is not there it cost what was charged.
        """
        plan = attempt.plan
        if plan is None:
            raise AssertionError("what is settled was admitted")
        receipt = receipt_of(attempt)
        if not receipt.parts:
            return "nothing" if attempt.outage is None else "uncounted"
        real, surpluses = real_costs(plan, attempt.taken or plan.costs, costs)
        if attempt.outage is not None:
            owed = list(real)  # by the quota: credits were not asked
            for surplus in surpluses:
                owed[surplus.part] += surplus.units
            self._outages.spent(attempt.outage, owed)
            if not attempt.outage.parts:
                return "uncounted"
            if self._outages.correct(attempt.outage, owed):
                return "settled"
        try:
            command = prepare_settlement(receipt, real, surpluses)
            given, taken, missed = await self._send(receipt.customer_id, command)
        except (CapacityReduced, LedgerUnavailable):
            return "lost"
        if given or taken:
            return "settled"
        return "uncounted" if missed else "nothing"

    async def _send(self, customer_id: str, command: bytes) -> list[int]:
        """What the cache has lost, or does not believe any more, is loaded first: nothing is corrected in it before."""
        reply = await self._cache.settle_packed(command)
        if reply[-1] >= 0 or await self._publisher.load(customer_id) is None:
            return reply
        return await self._cache.settle_packed(command)

    async def owe(self, attempt: Attempt, costs: Mapping[str, int]) -> bool:
        """Count what was used although nothing could be charged for it, once for each attempt. No limit is asked.

        Args:
            attempt: With the plan by whose quotas it is counted.
            costs: Units by meter.

        Returns:
            False if the cache did not answer, or knows nobody: then it is lost.
        """
        account, plan = attempt.account, attempt.plan
        if account is None or plan is None:
            return False
        parts = tuple(
            (limit.claim.field, limit.claim.starts_at, costs[limit.meter])
            for limit in plan.limits
            if isinstance(limit.claim, QuotaClaim) and costs.get(limit.meter)
        )
        receipt = Receipt(
            customer_id=account.customer_id,
            receipt_id=attempt.decision_id,
            parts=parts,
            charged_at=int(attempt.now),
        )
        try:
            return not parts or await self._cache.charge_back(receipt) is not None
        except CapacityReduced:
            return False

    def end_once(self, attempt: Attempt) -> None:
        """The call was charged under its Idempotency-Key and has ended: repeats may pass.

        Nobody waits for it. If it is lost, they pass when the call is taken for lost.
        """
        if attempt.once is not None and attempt.account is not None:
            command = prepare_once_end(attempt.account.customer_id, attempt.once, attempt.decision_id)
            self._cache.charge_packed(command).add_done_callback(_ignore)


def _ignore(reply: asyncio.Future[Any]) -> None:
    if not reply.cancelled():
        reply.exception()
