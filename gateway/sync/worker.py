"""Works stored events off in the background, and looks for those that never arrived.

Laws:
  An event is done only after the ledger has recorded what Stripe says *now*. So events may
  come twice, late or in any order, and a worker may die at any point: its claim runs out,
  and another worker does the same work again, which changes nothing.
  Several events of one customer are one sync, and several about one object that does not name its customer
  are one question.
  Nothing here asks Stripe faster than its pace (`billing.pace`) allows.
  An outage is waited for, and so is another key if Stripe refuses ours; anything else is tried
  a few times and then set aside as dead, where people see it and can replay it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Awaitable

import structlog

from gateway.clock import Clock
from gateway.core.errors import LedgerUnavailable, TiergateError
from gateway.ledger import InboxRow, Ledger
from gateway.sync.customers import Sync
from gateway.sync.in_hand import EventsInHand
from gateway.sync.judging import Judge
from gateway.sync.sweeping import Sweeping
from gateway.sync.told_thinly import ThinPlace, ToldThinly
from gateway.sync.undelivered import Undelivered
from gateway.sync.worker_options import WorkerOptions

log = structlog.get_logger(__name__)


class EventWorker:
    """One process's worker. `run` until cancelled; `wake` it when something was stored.

    `url` is where Stripe's events come: what an event destination was to send there is swept for. None: nothing is.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        sync: Sync,
        clock: Clock,
        options: WorkerOptions | None = None,
        url: str | None = None,
    ) -> None:
        self._sync = sync
        self._options = options or WorkerOptions()
        self.in_hand = EventsInHand(ledger=ledger, clock=clock, options=self._options)
        """What it has claimed, and how often claims ended in which way."""
        self._judge = Judge(ledger=ledger, sync=sync)
        self._woken = asyncio.Event()
        self._batch: asyncio.Task[int] | None = None
        billing, back_s = sync.billing, self._options.swept_s
        undelivered = Undelivered(billing=billing, clock=clock, back_s=back_s)
        self._sweeping = Sweeping(listing=undelivered, ledger=ledger, billing=billing, clock=clock)
        self._thin_sweeping: Sweeping[ThinPlace] | None = None
        if url is not None:
            told = ToldThinly(billing=billing, clock=clock, back_s=back_s, url=url)
            self._thin_sweeping = Sweeping(listing=told, ledger=ledger, billing=billing, clock=clock)

    @property
    def coalesced(self) -> int:
        """Events that needed no sync of their own, because another of the same customer brought one."""
        return self._judge.coalesced

    @property
    def swept(self) -> int:
        """Events that sweeps found and stored."""
        return self._sweeping.found + (0 if self._thin_sweeping is None else self._thin_sweeping.found)

    @property
    def strangers(self) -> Counter[str]:
        """Events about customers that are not in the ledger, by what became of them."""
        return self._judge.strangers

    def wake(self) -> None:
        """Look at the inbox now. Cheap; may be called from anywhere in the event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. Then end what is begun, or give it back, and return."""
        failures = 0
        try:
            while True:
                self._woken.clear()
                self._batch = asyncio.create_task(self.work_once())
                try:
                    claimed = await asyncio.shield(self._batch)
                except LedgerUnavailable as error:
                    failures, claimed = failures + 1, 0
                    if failures.bit_count() == 1:  # the 1st, 2nd, 4th, 8th and so on of an outage
                        log.warning("events cannot be claimed", reason=str(error), tries=failures)
                else:
                    if failures:
                        log.info("events are claimed again", tries=failures)
                    failures = 0
                if claimed < self._options.batch:
                    await self._rest()
        finally:
            draining = asyncio.create_task(self._drain())
            while not draining.done():
                with contextlib.suppress(asyncio.CancelledError):  # whoever ends us asks more than once
                    await asyncio.shield(draining)

    async def work_once(self) -> int:
        """Claim and work off one batch.

        Returns:
            How many events were claimed.

        Raises:
            LedgerUnavailable: None could be claimed.
        """
        rows = await self.in_hand.claim()
        slots = asyncio.Semaphore(self._options.at_once)
        groups: defaultdict[str, list[InboxRow]] = defaultdict(list)
        for row in await self._name_owners(rows, slots):
            groups[self._judge.owner_of(row) or row.event_id].append(row)

        async def work(group: list[InboxRow]) -> None:
            async with slots, self._sync.billing.pace.turn():
                await self._has_worked(group, self._work_group(group))

        await asyncio.gather(*(work(group) for group in groups.values()))
        return len(rows)

    async def _name_owners(self, rows: list[InboxRow], slots: asyncio.Semaphore) -> list[InboxRow]:
        """Ask, once for each object, whom events that name nobody are about. Returns what can be worked on."""
        subjects: defaultdict[tuple[str, str], list[InboxRow]] = defaultdict(list)
        for row in rows:
            subject = self._judge.unnamed_subject(row)
            if subject is not None:
                subjects[subject].append(row)
        failed: set[str] = set()

        async def ask(subject: tuple[str, str], about: list[InboxRow]) -> None:
            async with slots, self._sync.billing.pace.turn():
                if not await self._has_worked(about, self._judge.find_owner(subject)):
                    failed.update(row.event_id for row in about)

        await asyncio.gather(*(ask(subject, about) for subject, about in subjects.items()))
        return [row for row in rows if row.event_id not in failed]

    async def sweep(self) -> int:
        """Store events that Stripe could not deliver, and thin ones that did not come, each by itself.

        Returns:
            How many were new; 0 also while another worker sweeps.

        Raises:
            BillingUnavailable, BillingRefused, LedgerUnavailable: The next sweep goes on, or begins anew.
        """
        before = self.swept
        try:
            try:
                await self._sweeping.sweep()
            except Exception:  # a gateway that only a destination tells is told nothing by the other
                await self._sweep_thinly()
                raise
            await self._sweep_thinly()
        finally:
            if self.swept != before:
                self.wake()
        return self.swept - before

    async def _sweep_thinly(self) -> None:
        if self._thin_sweeping is not None:
            await self._thin_sweeping.sweep()

    async def _has_worked(self, rows: list[InboxRow], work: Awaitable[object]) -> bool:
        """Whether what is done for these events was done; else they are put back."""
        try:
            await work
        except TiergateError as error:
            await self.in_hand.put_back(rows, error)
        except Exception as error:  # whatever it is, the events must not be lost and the worker must go on
            log.exception("event could not be worked on", event_ids=[row.event_id for row in rows])
            await self.in_hand.put_back(rows, error)
        else:
            return True
        return False

    async def _work_group(self, rows: list[InboxRow]) -> None:
        verdicts = await self._judge.judge(rows, self._judge.owner_of(rows[0]))
        done: defaultdict[str, list[InboxRow]] = defaultdict(list)
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict.is_dead:
                await self.in_hand.bury(row, verdict.outcome)
            else:
                done[verdict.outcome].append(row)
        for outcome, finished in done.items():
            await self.in_hand.finish(finished, outcome)

    async def _rest(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.poll_s):
                await self._woken.wait()

    async def _drain(self) -> None:
        """End the batch in progress, or cancel it and give back what it holds."""
        if self._batch is None:
            return
        try:
            await asyncio.wait([self._batch], timeout=self._options.drain_s)
        finally:
            self._batch.cancel()
        await asyncio.wait([self._batch])
        await self.in_hand.give_back()
