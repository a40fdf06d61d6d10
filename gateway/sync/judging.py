"""What a stored event asks for, done: the customer it is about is found and synced.

A payload is only a hint. The one thing taken from it is which customer to read, and for a
Stripe customer we do not know, whom it says it belongs to. A thin event says neither: Stripe
is asked for its object, once, and that is believed as far as a payload is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import structlog
from cachetools import LRUCache

from gateway.billing import (
    ERROR_REPORTS,
    NOTHING_CLAIMED,
    PLANS_CHANGED,
    Claimed,
    Meaning,
    Owner,
    claimed_customer,
    meaning_of,
    remapped_price,
    subject_of,
)
from gateway.core.errors import BillingKeyRefused, BillingRefused
from gateway.core.flags import asked_of_payments
from gateway.ledger import Binding, CustomerExists, InboxRow, Ledger
from gateway.sync.asking import Asking
from gateway.sync.binding import bind
from gateway.sync.changing import PlanChanges
from gateway.sync.customers import Sync
from gateway.sync.lost import LostCustomers
from gateway.sync.verdicts import Verdict

log = structlog.get_logger(__name__)

_OF_PAYMENTS = frozenset({Meaning.REFUND, Meaning.PAYMENT})
_ABOUT_CUSTOMERS = frozenset({Meaning.SYNC, Meaning.REFUND})
_REFUNDED = "payment-refunded"
_OWNERS_REMEMBERED = 20_000
_EVENTS_REMEMBERED = 1000


class Judge:
    """Does what events ask for and says what became of each."""

    def __init__(self, *, ledger: Ledger, sync: Sync) -> None:
        self._ledger = ledger
        self._sync = sync
        self._lost = LostCustomers(ledger=ledger, clock=sync.clock)
        self._owners: LRUCache[tuple[str, str], Owner] = LRUCache(_OWNERS_REMEMBERED)
        self._followed: LRUCache[str, bool] = LRUCache(_EVENTS_REMEMBERED)
        self.coalesced = 0
        """Events that needed no sync of their own."""

    @property
    def strangers(self) -> Counter[str]:
        """Events about customers that are not in the ledger, by what became of them."""
        return self._lost.judged

    async def judge(self, rows: list[InboxRow], owner: str | None) -> list[Verdict]:
        """What becomes of events that share one Stripe customer, in their order.

        Args:
            rows: The events.
            owner: The Stripe customer: what `owner_of` said of each of them.

        Raises:
            TiergateError: Nothing became of any of them; they must be tried again.
        """
        asking = [row for row in rows if self._asks_for_sync(row)]
        synced = iter(await self._sync_for(asking, owner) if asking else ())  # first: access waits for nothing else
        return [await self._verdict(row, owner, next(synced) if row in asking else None) for row in rows]

    async def _verdict(self, row: InboxRow, owner: str | None, synced: Verdict | None) -> Verdict:
        """On one event, `synced` being that on the sync that it asked for. A refund is written down beside it."""
        if synced is None:
            return await self._simple_verdict(row, owner)
        if meaning_of(row.type) is not Meaning.REFUND or not synced.was_read:
            return synced
        written = await self._write_down_refund(row, owner)
        if not synced.is_dead:
            return written
        return replace(synced, outcome=f"{synced.outcome}; {written.outcome}") if written.is_dead else synced

    def unnamed_subject(self, row: InboxRow) -> tuple[str, str] | None:
        """The object that must be asked for to know whom an event is about; None if it is known, or does not matter."""
        is_ours = row.livemode == self._sync.billing.is_live
        if row.stripe_customer_id is not None or not is_ours:
            return None
        if meaning_of(row.type) not in _ABOUT_CUSTOMERS and not self._asks_for_sync(row):
            return None
        subject = subject_of(row.payload)
        return None if subject is None or subject in self._owners else subject

    async def find_owner(self, subject: tuple[str, str]) -> None:
        """Ask for the Stripe customer of an object. It is remembered: objects do not change their customer.

        Raises:
            BillingUnavailable, BillingRefused: Stripe did not say, or it is not the ledger's account that was asked.
        """
        owner = await self._sync.billing.facts.find_owner(*subject)
        if owner is None:
            await self._sync.account.check()
        else:
            self._owners[subject] = owner

    def owner_of(self, row: InboxRow) -> str | None:
        """The Stripe customer of an event, as far as it is known without asking.

        One about a dispute, and a thin one, does not name it.
        """
        if row.stripe_customer_id is not None:
            return row.stripe_customer_id
        owner = self._told_owner(row)
        return None if owner is None else owner.stripe_customer_id

    def _told_owner(self, row: InboxRow) -> Owner | None:
        """What Stripe said of the object that an event is about, if it was asked."""
        subject = subject_of(row.payload)
        return None if subject is None else self._owners.get(subject)

    def _claim_of(self, row: InboxRow) -> Claimed:
        """Whose of ours an event says that it is; of a thin one, what its object says."""
        claimed = claimed_customer(row.payload)
        owner = self._told_owner(row)
        return owner.claimed if claimed == NOTHING_CLAIMED and owner is not None else claimed

    def _asks_for_sync(self, row: InboxRow) -> bool:
        if row.livemode != self._sync.billing.is_live:
            return False
        meaning = meaning_of(row.type)
        return meaning is Meaning.SYNC or (meaning in _OF_PAYMENTS and bool(asked_of_payments(self._sync.policy).rows))

    async def _simple_verdict(self, row: InboxRow, owner: str | None) -> Verdict:
        """The verdict on an event that asks for no sync."""
        if row.livemode != self._sync.billing.is_live:
            return Verdict(outcome="wrong-mode")
        meaning = meaning_of(row.type)
        if meaning is Meaning.PRICES:
            return await self._follow_prices(row)
        if meaning is Meaning.REFUND:
            return await self._write_down_refund(row, owner)
        if meaning is Meaning.ALERT:
            told = await self._doubt_reports(row) if row.type in ERROR_REPORTS else ""
            where = subject_of(row.payload) or "the event"
            return Verdict(outcome=f"{row.type}: {told or f'look at {where} in Stripe'}", is_dead=True)
        return Verdict(outcome="ignored")

    async def _doubt_reports(self, row: InboxRow) -> str:
        """Mark the reports that Stripe took and does not count; whose they are, and why, in words."""
        try:
            errors = await self._sync.billing.meter_errors.of(row.event_id, row.payload)
        except BillingRefused:
            return ""
        told = []
        for error in errors:
            identifier = error.identifier.partition(".")[0]  # the key of a try is the report's, a dot and its number
            report = await self._ledger.doubt_report(identifier, error=error.reason, now=row.received_at)
            if report is None:
                told.append(f"{error.identifier} (not ours): {error.reason}")
                continue
            log.error(
                "stripe does not count reported overage",
                customer_id=report.customer_id,
                meter=report.meter,
                units=report.units,
                identifier=identifier,
                reason=error.reason,
            )
            told.append(f"{report.units} units of customer {report.customer_id} are not billed: {error.reason}")
        return "; ".join(told)

    async def _follow_prices(self, row: InboxRow) -> Verdict:
        """Have every customer synced whose plan hangs on prices and products."""
        self._sync.billing.forget_prices()
        price_id = remapped_price(row.payload)
        asking = Asking(
            ledger=self._ledger,
            reason=row.event_id,
            livemode=row.livemode,
            api_version=row.api_version,
            received_at=row.received_at,
            begins_at=int(self._sync.clock.now()),
            turns_per_second=self._sync.billing.pace.per_second,
        )
        asked, last = 0, ""
        subject = subject_of(row.payload)
        metered_at = subject[1] if subject is not None and subject[0] == "price" else None
        while page := await self._ledger.list_by_plan_map(price_id, metered_at=metered_at, after=last):
            await asyncio.gather(*(asking.ask(whom, asked + number) for number, whom in enumerate(page)))
            asked, last = asked + len(page), page[-1]
        return Verdict(outcome=f"prices-forgotten, {asked} to sync" if asked else "prices-forgotten")

    def _forget_prices_once(self, rows: list[InboxRow]) -> None:
        """Another worker may have had the event of the price: what this one remembers is from before it."""
        for row in rows:
            origin = row.event_id.rpartition(".")[0]
            if row.type == PLANS_CHANGED and origin not in self._followed:
                self._followed[origin] = True
                self._sync.billing.forget_prices()

    async def _write_down_refund(self, row: InboxRow, owner: str | None) -> Verdict:
        """Audited once, however often the event is worked on. What is written was read of Stripe now.

        What Stripe refuses to show concerns this event alone, and not what else is known of the customer.
        """
        subject = subject_of(row.payload)
        customer = None if owner is None else await self._ledger.find_customer_by_stripe(owner)
        if customer is None or subject is None:
            return self._lost.dismiss("not-ours")
        because = f"{row.type} {row.event_id}"
        known = await self._ledger.list_audit(customer.customer_id)
        if any((one.action, one.because) == (_REFUNDED, because) for one in known):
            return Verdict(outcome="recorded")
        try:
            refunded = await self._sync.billing.facts.fetch_refund(subject[1])
        except BillingRefused as error:
            if isinstance(error, BillingKeyRefused) and error.is_whole:
                raise
            return Verdict(outcome=f"the charge {subject[1]} could not be read: {error}", is_dead=True)
        await self._ledger.record_audit(
            at=row.received_at,
            customer_id=customer.customer_id,
            actor="stripe",
            action=_REFUNDED,
            because=because,
            after=refunded,
            event_id=row.event_id,
        )
        return Verdict(outcome="recorded")

    async def _note_dispute(self, row: InboxRow, customer_id: str) -> None:
        """Have every read from now on look at the dispute that an event is about, if it is about one."""
        subject = subject_of(row.payload)
        if subject is not None and subject[0] == "dispute":
            await self._ledger.note_dispute(subject[1], customer_id, row.received_at)

    async def _sync_for(self, rows: list[InboxRow], owner: str | None) -> list[Verdict]:
        customer_id = await self._find_customer(rows, owner)
        if isinstance(customer_id, Verdict):  # one that people see is enough: what it leads to reads the whole customer
            return [replace(customer_id, is_dead=False)] * (len(rows) - 1) + [customer_id]
        self._forget_prices_once(rows)
        last = rows[-1]
        outcome = await self._sync.sync_customer(customer_id, f"{last.type} {last.event_id}", event_id=last.event_id)
        if outcome.has_plan_to_mend:
            await PlanChanges(sync=self._sync, clock=self._sync.clock).restore(customer_id)
        if outcome.has_used_left:
            await PlanChanges(sync=self._sync, clock=self._sync.clock).let_go(customer_id)
        self.coalesced += len(rows) - 1
        verdicts = [Verdict(outcome=outcome.result, was_read=True)] * len(rows)
        if outcome.needs_attention:
            reasons = "; ".join(f"{finding.code}: {finding.detail}" for finding in outcome.needs_attention)
            verdicts[-1] = Verdict(outcome=reasons, is_dead=True, was_read=True)
        return verdicts

    async def _find_customer(self, rows: list[InboxRow], stripe_customer_id: str | None) -> str | Verdict:
        """Ours, by its Stripe customer, or adopted by what an event says of it; else the verdict on all."""
        if stripe_customer_id is None:
            return self._lost.dismiss("no-customer", len(rows))
        known = await self._ledger.find_customer_by_stripe(stripe_customer_id)
        if known is not None:
            for row in rows:
                await self._note_dispute(row, known.customer_id)
            return known.customer_id
        claims = [self._claim_of(row) for row in rows]
        for row, claimed in zip(rows, claims, strict=True):
            customer_id = await self._find_claimed(claimed)
            if customer_id is not None:
                return await self._adopt(customer_id, stripe_customer_id, row)
        self._forget_owners(rows)
        return await self._lost.judge(rows, stripe_customer_id, claims)

    def _forget_owners(self, rows: list[InboxRow]) -> None:
        """What the objects of strangers say is asked again: they may be labelled until the next event."""
        for row in rows:
            subject = subject_of(row.payload)
            if subject is not None:
                self._owners.pop(subject, None)

    async def _find_claimed(self, claimed: Claimed) -> str | None:
        """Our customer that is named: by metadata, or by the reference of a checkout that we began."""
        if claimed.by_metadata is not None:
            row = await self._ledger.find_customer(claimed.by_metadata)
            return None if row is None else row.customer_id
        if claimed.by_reference is None or claimed.session_id is None:
            return None
        checkout = await self._ledger.find_checkout(claimed.session_id)
        is_ours = checkout is not None and checkout.customer_id == claimed.by_reference
        return claimed.by_reference if is_ours else None

    async def _adopt(self, customer_id: str, stripe_customer_id: str, row: InboxRow) -> str | Verdict:
        """Bind a Stripe customer that we did not bind ourselves. Somebody may have paid: a conflict is not dropped."""
        because = f"{row.type} {row.event_id} names this customer"
        by = Binding(now=row.received_at, actor="stripe", because=because, event_id=row.event_id)
        try:
            bound = await bind(self._sync, customer_id, stripe_customer_id, by)
        except CustomerExists:
            bound = "none"
        if bound == stripe_customer_id:
            log.info("stripe customer adopted", customer_id=customer_id, stripe_customer_id=stripe_customer_id)
            return customer_id
        reason = (
            f"customer {customer_id} is bound to {bound} and cannot be to {stripe_customer_id} too; delete the one at "
            "Stripe that is not to be used, which cancels what it has, and replay this"
        )
        return Verdict(outcome=reason, is_dead=True)
