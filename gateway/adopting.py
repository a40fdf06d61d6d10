"""USE CASE: customers that were at Stripe before this gateway, or that its ledger lost, become ours, each once.

All of them are listed before any is bound, so that two with one user id are seen before one of them has it.
Then each is bound and read, in Stripe's order. Repeating it changes nothing; one that was broken off goes on
behind the last that was done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from gateway.clock import Clock
from gateway.core.adoption import (
    Adoption,
    Conflict,
    Known,
    ListedCustomer,
    Rivals,
    decide_adoption,
    find_rivals,
    find_user_id,
)
from gateway.core.errors import BillingRefused, BillingUnavailable, LedgerUnavailable
from gateway.ledger import Binding, CustomerExists, CustomerRow, Ledger, UserExists
from gateway.provisioning import Provisioning
from gateway.sync import MAX_PER_SECOND, Pace, Sync

log = structlog.get_logger(__name__)

BECAUSE = "imported from Stripe"


class CursorUnknown(Exception):
    """Stripe lists no customer of that id, so there is nothing to go on behind."""


@dataclass(slots=True, kw_only=True)
class ImportReport:
    """How far an import is. The same value grows until the end."""

    listed: int = 0
    created: int = 0
    restored: int = 0
    """Made again, which this ledger had made and lost: under the id that they had."""
    bound: int = 0
    """Customers of ours that had no Stripe customer, or one that Stripe has deleted."""
    known: int = 0
    """Bound before."""
    granted: int = 0
    """Whose access changed by what was read of them."""
    conflicts: list[Conflict] = field(default_factory=list)
    cursor: str = ""
    """Last Stripe customer that is done."""
    stopped_because: str | None = None

    @property
    def done(self) -> int:
        """How many have been decided."""
        return self.created + self.restored + self.bound + self.known + len(self.conflicts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOrder:
    """What shall be imported, and how."""

    source: str
    """Where user ids are: `metadata:KEY`, `email` or `id`."""
    after: str | None = None
    """Go on behind this Stripe customer."""
    per_second: float = MAX_PER_SECOND
    """Requests of Stripe."""
    is_dry: bool = False
    """Decide, and write nothing."""
    writes_metadata: bool = False
    """Put our ids into the metadata at Stripe."""
    of_ledgers: frozenset[str] = frozenset()
    """Ledgers whose customers are made again in this one, which lost them: ids, or `UNNAMED`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """All Stripe customers, looked at together before any is bound."""

    user_ids: dict[str, str | None]
    """The seller's id for each."""
    rivals: Rivals
    lost_ids: frozenset[str]
    """The customers that some of them name, and that this ledger lost."""
    ledgers: frozenset[str]
    """Whose customers are this ledger's."""


class Adopting:
    """Imports Stripe customers."""

    def __init__(self, *, ledger: Ledger, sync: Sync, provisioning: Provisioning, clock: Clock, actor: str) -> None:
        self._ledger = ledger
        self._sync = sync
        self._provisioning = provisioning
        self._clock = clock
        self._actor = actor

    async def run(self, order: ImportOrder, progress: Callable[[ImportReport], None] | None = None) -> ImportReport:
        """Import all customers of the account.

        Raises:
            StripeAccountWrong: The key is of another account than the ledger's; nothing was written.
            CursorUnknown: `order.after` is on no list.
            BillingUnavailable, BillingRefused: They could not be listed; nothing was written.
        """
        await self._sync.account.check(learns=not order.is_dry)
        pace, report = Pace(order.per_second), ImportReport(cursor=order.after or "")
        listed = await self._list(pace)
        listing = await self._look_at(listed, order)
        listed = _behind(listed, order.after)
        report.listed = len(listed)
        try:
            for one in listed:
                await self._import(one, listing, order, report, pace)
                report.cursor = one.stripe_customer_id
                if progress is not None:
                    progress(report)
        except (BillingUnavailable, LedgerUnavailable) as error:
            report.stopped_because = str(error)
        return report

    async def _list(self, pace: Pace) -> list[ListedCustomer]:
        listed: list[ListedCustomer] = []
        has_more = True
        while has_more:
            await pace.wait()
            after = listed[-1].stripe_customer_id if listed else None
            page, has_more = await self._sync.billing.customers.fetch_page(after)
            listed += page
        return listed

    async def _look_at(self, listed: list[ListedCustomer], order: ImportOrder) -> _Listing:
        own = await self._ledger.find_ledger_id()
        ledgers = order.of_ledgers if own is None else order.of_ledgers | {own}
        user_ids = {one.stripe_customer_id: find_user_id(one, order.source, ledgers) for one in listed}
        named = {one.claimed_id for one in listed if one.claimed_id is not None and one.is_of(ledgers)}
        lost_ids = frozenset([one for one in named if await self._ledger.find_customer(one) is None])
        rivals = find_rivals(((one, user_ids[one.stripe_customer_id]) for one in listed), lost_ids)
        return _Listing(user_ids=user_ids, rivals=rivals, lost_ids=lost_ids, ledgers=ledgers)

    async def _import(
        self, one: ListedCustomer, listing: _Listing, order: ImportOrder, report: ImportReport, pace: Pace
    ) -> None:
        decided = await self._decide(one, listing, pace)
        customer_id: str | None = None
        if isinstance(decided, Adoption) and not order.is_dry:
            try:
                customer_id = await self._bind(decided)
            except (UserExists, CustomerExists):  # somebody was quicker; what is recorded now decides
                decided = await self._decide(one, listing, pace)
                customer_id = decided.customer_id if isinstance(decided, Adoption) else None
        if isinstance(decided, Conflict):
            report.conflicts.append(decided)
            return
        is_new = not decided.is_bound and decided.customer_id is None
        report.created += is_new and decided.lost_id is None
        report.restored += is_new and decided.lost_id is not None
        report.bound += not decided.is_bound and decided.customer_id is not None
        report.known += decided.is_bound
        if customer_id is not None:
            await self._read(one, customer_id, order, report, pace)

    async def _decide(self, one: ListedCustomer, listing: _Listing, pace: Pace) -> Adoption | Conflict:
        find, user_id = self._ledger.find_customer, listing.user_ids[one.stripe_customer_id]
        by_user = _known(None if user_id is None else await self._ledger.find_customer_by_user(user_id))
        bound = _known(await self._ledger.find_customer_by_stripe(one.stripe_customer_id))
        claimed = _known(None if one.claimed_id is None else await find(one.claimed_id))
        is_lost = claimed is None and one.claimed_id in listing.lost_ids
        return decide_adoption(
            one,
            user_id,
            is_shared=listing.rivals.are_there(one, user_id, by_user, is_lost=is_lost),
            is_live=self._sync.billing.is_live,
            bound=bound,
            claimed=claimed,
            by_user=by_user,
            ledgers=listing.ledgers,
            gone=None if bound is not None else await self._find_gone(claimed or by_user, listing, pace),
        )

    async def _find_gone(self, ours: Known | None, listing: _Listing, pace: Pace) -> str | None:
        """The Stripe customer of ours, if Stripe has deleted it. One that is listed it has not."""
        had = None if ours is None else ours.stripe_customer_id
        if had is None or had in listing.user_ids:
            return None
        await pace.wait()
        return None if await self._sync.billing.account.has_customer(had) else had

    async def _bind(self, decided: Adoption) -> str:
        if decided.customer_id is None:
            row = await self._provisioning.create_customer(
                decided.user_id,
                actor=self._actor,
                stripe_customer_id=decided.stripe_customer_id,
                customer_id=decided.lost_id,
            )
            return row.customer_id
        if not decided.is_bound:
            gone, because = decided.instead_of, BECAUSE
            if gone is not None:
                because = f"{BECAUSE}; Stripe does not have {gone} any more"
            by = Binding(now=int(self._clock.now()), actor=self._actor, because=because)
            bound = await self._ledger.bind_stripe_customer(
                decided.customer_id, decided.stripe_customer_id, instead_of=gone, by=by
            )
            if bound != decided.stripe_customer_id:
                raise CustomerExists("the customer has another Stripe customer")
        return decided.customer_id

    async def _read(
        self, one: ListedCustomer, customer_id: str, order: ImportOrder, report: ImportReport, pace: Pace
    ) -> None:
        billing = self._sync.billing
        try:
            await pace.wait()
            outcome = await self._sync.sync_customer(customer_id, BECAUSE, actor=self._actor, end_if_missing=False)
            pace.took(outcome.requests)
            report.granted += outcome.changed
            trouble = "; ".join(f"{finding.code}: {finding.detail}" for finding in outcome.needs_attention)
            if outcome.result == "missing":
                trouble = "it was deleted at Stripe a moment ago"
            row = await self._ledger.find_customer(customer_id)
            ledger_id = await self._ledger.keep_ledger_id(now=int(self._clock.now()))
            is_labelled = (one.claimed_id, one.ledger_id) == (customer_id, ledger_id)
            if order.writes_metadata and not is_labelled and row is not None and not trouble:
                await pace.wait()
                await billing.customers.write_ids(
                    one.stripe_customer_id, customer_id=customer_id, user_id=row.user_id, ledger_id=ledger_id
                )
        except BillingRefused as error:
            trouble = str(error)
        if trouble:
            report.conflicts.append(
                Conflict(stripe_customer_id=one.stripe_customer_id, code="not-synced", detail=trouble)
            )


def _known(row: CustomerRow | None) -> Known | None:
    if row is None:
        return None
    return Known(customer_id=row.customer_id, user_id=row.user_id, stripe_customer_id=row.stripe_customer_id)


def _behind(listed: list[ListedCustomer], after: str | None) -> list[ListedCustomer]:
    if after is None:
        return listed
    for place, one in enumerate(listed):
        if one.stripe_customer_id == after:
            return listed[place + 1 :]
    raise CursorUnknown(after)
