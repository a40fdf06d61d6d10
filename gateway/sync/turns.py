"""One change of a customer's subscription at a time, on all workers together.

Whoever comes second waits and then reads what the first has made of it, so that two clicks are one change,
and of two different ones the later one is made of what the earlier one left. Checkouts take the same turns.

Who waits in this process waits in line, in memory: only the first of a customer's line asks the ledger, and looks
at it more and more seldom, so a customer who sends many orders costs nobody else the ledger. A line has an end.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog

from gateway.clock import Clock, steady_s
from gateway.core.errors import Denied, LedgerUnavailable, Paced
from gateway.ledger import Ledger

log = structlog.get_logger(__name__)

TURN_S = 120
"""How long a turn lasts if its worker is lost. Longer than all requests of a change at their slowest."""
PATIENCE_S = 20.0
"""How long a change waits for the one before it, and anybody in line."""
COURTESY_S = 6.0
"""How long a checkout does for one on another worker, which may be lost."""
LINE = 8
"""How many of one customer may be in line in one process. Two clicks are two; a page that was opened again, a few."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
_GROWTH = 1.5
_RETRY_S = 10


class ChangeInProgress(Denied):
    """Another change of the same subscription is being made and does not end.

    Args:
        message: One sentence.
        retry_after_s: Seconds after which it is over even if its worker was lost; None: it is this process's own.
    """

    code = "change-in-progress"

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TooManyBillingRequests(Paced):
    """One customer has Stripe asked too often, or too many times at once."""

    code = "too-many-billing-requests"


@dataclass(slots=True)
class _Line:
    """Those of one customer in this process: one has the lock, the others wait for it in the order they came."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    length: int = 0


class Turns:
    """The turns of one process's customers.

    Args:
        ledger: Says whose turn it is among all workers.
        clock: Unix seconds.
    """

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def own(self, customer_id: str, *, patience_s: float | None = None) -> AsyncIterator[None]:
        """Inside, nobody else changes this customer's subscription.

        Args:
            customer_id: Whose subscription.
            patience_s: How long to wait for others; None: as long as a change does.

        Raises:
            ChangeInProgress: Somebody else did not come to an end in time.
            TooManyBillingRequests: Too many of this customer wait already.
            LedgerUnavailable: Nobody can say whose turn it is.
        """
        patience_s = PATIENCE_S if patience_s is None else patience_s
        async with self._in_line(customer_id, patience_s):
            holder = await self._take(customer_id, patience_s)
            if holder is None:
                raise await self._in_progress_elsewhere(customer_id)
            try:
                yield
            finally:
                await self._give_back(customer_id, holder)

    @asynccontextmanager
    async def courteous(self, customer_id: str) -> AsyncIterator[None]:
        """As `own`, for what is safe beside others too: it goes on if another worker, lost maybe, keeps its turn.

        Raises:
            ChangeInProgress: Somebody else in this process, which is not lost, did not come to an end in time.
            TooManyBillingRequests: Too many of this customer wait already.
            LedgerUnavailable: Nobody can say whose turn it is.
        """
        async with self._in_line(customer_id, PATIENCE_S):
            holder = await self._take(customer_id, COURTESY_S)
            if holder is None:
                log.warning("went on without a turn", customer_id=customer_id, after_s=COURTESY_S)
            try:
                yield
            finally:
                if holder is not None:
                    await self._give_back(customer_id, holder)

    @asynccontextmanager
    async def _in_line(self, customer_id: str, patience_s: float) -> AsyncIterator[None]:
        line = self._lines.setdefault(customer_id, _Line())
        if line.length >= LINE:
            raise TooManyBillingRequests(
                "Too many requests about one customer's subscription wait for each other.", retry_after_s=_RETRY_S
            )
        line.length += 1
        try:
            try:
                async with asyncio.timeout(patience_s):
                    await line.lock.acquire()
            except TimeoutError:
                raise _in_progress() from None
            try:
                yield
            finally:
                line.lock.release()
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[customer_id]

    async def _take(self, customer_id: str, patience_s: float) -> str | None:
        """Who has the turn now; None: somebody else did not come to an end in time.

        Whoever waits only reads: a write would take its place among all writers, over and over.
        """
        holder = secrets.token_hex(8)
        give_up_at, pause_s = steady_s() + patience_s, _FIRST_PAUSE_S
        now = int(self._clock.now())
        while not await self._ledger.take_change_turn(customer_id, holder, now=now, until=now + TURN_S):
            is_taken = True
            while is_taken:
                left_s = give_up_at - steady_s()
                if left_s <= 0:
                    return None
                await asyncio.sleep(min(pause_s, left_s))
                pause_s = min(_LONGEST_PAUSE_S, pause_s * _GROWTH)
                now = int(self._clock.now())
                is_taken = await self._ledger.is_change_turn_taken(customer_id, now)
        return holder

    async def _in_progress_elsewhere(self, customer_id: str) -> ChangeInProgress:
        """With the time at which the other's turn ends: nobody can tell a slow worker from a lost one."""
        now = int(self._clock.now())
        ends_at = await self._ledger.find_change_turn_end(customer_id, now)
        return _in_progress() if ends_at is None else _in_progress(ends_at - now)

    async def _give_back(self, customer_id: str, holder: str) -> None:
        try:
            await self._ledger.give_change_turn_back(customer_id, holder)
        except LedgerUnavailable:
            log.warning("a turn was not given back and ends by itself", customer_id=customer_id, after_s=TURN_S)


def _in_progress(wait_s: int | None = None) -> ChangeInProgress:
    return ChangeInProgress("Another change of this subscription is being made.", retry_after_s=wait_s)
