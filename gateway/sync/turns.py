"""One change of a customer's subscription at a time, on all workers together.

Whoever comes second waits and then reads what the first has made of it, so that two clicks are one change,
and of two different ones the later one is made of what the earlier one left. Checkouts take the same turns.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from gateway.clock import Clock, steady_s
from gateway.core.errors import Denied, LedgerUnavailable
from gateway.ledger import Ledger

log = structlog.get_logger(__name__)

TURN_S = 120
"""How long a turn lasts if its worker is lost. Longer than all requests of a change at their slowest."""
PATIENCE_S = 20.0
"""How long a change waits for the one before it."""
COURTESY_S = 6.0
"""How long a checkout does."""
_PAUSE_S = 0.1


class ChangeInProgress(Denied):
    """Another change of the same subscription is being made and does not end."""

    code = "change-in-progress"


@asynccontextmanager
async def own_turn(
    ledger: Ledger, clock: Clock, customer_id: str, *, patience_s: float = PATIENCE_S
) -> AsyncIterator[None]:
    """Inside, nobody else changes this customer's subscription.

    Raises:
        ChangeInProgress: Somebody else did not come to an end in time.
        LedgerUnavailable: Nobody can say whose turn it is.
    """
    holder = await _take(ledger, clock, customer_id, patience_s)
    if holder is None:
        raise ChangeInProgress("Another change of this subscription is being made.")
    try:
        yield
    finally:
        await _give_back(ledger, customer_id, holder)


@asynccontextmanager
async def courteous_turn(ledger: Ledger, clock: Clock, customer_id: str) -> AsyncIterator[None]:
    """As `own_turn`, for what is safe beside others too: who waited long enough, for a lost worker say, goes on.

    Raises:
        LedgerUnavailable: Nobody can say whose turn it is.
    """
    holder = await _take(ledger, clock, customer_id, COURTESY_S)
    if holder is None:
        log.warning("went on without a turn", customer_id=customer_id, after_s=COURTESY_S)
    try:
        yield
    finally:
        if holder is not None:
            await _give_back(ledger, customer_id, holder)


async def _take(ledger: Ledger, clock: Clock, customer_id: str, patience_s: float) -> str | None:
    """Who has the turn now; None: somebody else did not come to an end in time."""
    holder = secrets.token_hex(8)
    give_up_at = steady_s() + patience_s
    while True:
        now = int(clock.now())
        if await ledger.take_change_turn(customer_id, holder, now=now, until=now + TURN_S):
            return holder
        if steady_s() > give_up_at:
            return None
        await asyncio.sleep(_PAUSE_S)


async def _give_back(ledger: Ledger, customer_id: str, holder: str) -> None:
    try:
        await ledger.give_change_turn_back(customer_id, holder)
    except LedgerUnavailable:
        log.warning("a turn was not given back and ends by itself", customer_id=customer_id, after_s=TURN_S)
