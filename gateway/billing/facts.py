"""What a customer has at Stripe, read now: the facts that access is projected from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import stripe

from gateway.billing.claims import NOTHING_CLAIMED, Claimed, claimed_by
from gateway.billing.confirmations import find_confirmation
from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.first_payments import find_unpaid_first_invoice
from gateway.billing.notification import NOTIFICATION
from gateway.billing.reading import id_of, read_dispute, read_subscription, read_tier
from gateway.billing.scheduling import fetch_schedule
from gateway.billing.taken_back import find_taken_back
from gateway.billing.tariffs import TariffReader, is_metered
from gateway.billing.webhook import METADATA_BEFORE
from gateway.core.billing_facts import CustomerFacts, DisputeFacts, PaymentsAsked, SubscriptionFacts
from gateway.core.plan_map import ENDED_STATUSES
from gateway.core.tariff import Tariff

if TYPE_CHECKING:
    from stripe.params import DisputeListParams

_PAGE = 100
NOTHING_ASKED = PaymentsAsked()


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose an object is at Stripe, and whose of ours it says that it is."""

    stripe_customer_id: str
    claimed: Claimed


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a customer has had, however long ago."""

    trial: bool
    plan: bool
    """A subscription that began: one whose first payment never came is none."""


NOTHING_HAD = Past(trial=False, plan=False)
_NEVER_BEGAN = frozenset({"incomplete", "incomplete_expired"})


class FactReader:
    """Reads facts and changes nothing. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, price_ttl_s: float, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._tariffs = TariffReader(client, ttl_s=price_ttl_s, deadline_s=deadline_s)

    def forget_tariffs(self) -> None:
        """Read what metered prices ask for again when it is next asked for."""
        self._tariffs.forget()

    async def fetch_subscriptions(
        self, stripe_customer_id: str, payments: PaymentsAsked = NOTHING_ASKED
    ) -> CustomerFacts:
        """All subscriptions of a customer, ended ones too, with all of their items.

        `payments`: what to find out about theirs (`gateway.billing.taken_back`).

        A customer that Stripe does not have is an answer, not an error; one that it has in
        the other mode is an error, or a wrong key would end every subscription.
        """
        async with stripe_call("list subscriptions", self._deadline_s):
            try:
                page = await self._client.v1.subscriptions.list_async(
                    {"customer": stripe_customer_id, "status": "all", "limit": _PAGE, "expand": ["data.latest_invoice"]}
                )
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return CustomerFacts(stripe_customer_id=stripe_customer_id, exists=False)
            found = [await self._read(one, payments) async for one in page.auto_paging_iter()]
        return CustomerFacts(stripe_customer_id=stripe_customer_id, exists=True, subscriptions=tuple(found))

    async def _read(self, one: stripe.Subscription, payments: PaymentsAsked) -> SubscriptionFacts:
        """One subscription with every page of its items. A schedule costs a request more, as an unpaid invoice may."""
        items = [item async for item in one.items.auto_paging_iter()]
        schedule = await fetch_schedule(self._client, one)
        unpaid = await find_unpaid_first_invoice(self._client, one, of_ended=payments.of_ended)
        return read_subscription(
            one,
            items,
            await self._read_tariffs(one, items),
            schedule,
            first_unpaid=unpaid,
            confirmation_url=await find_confirmation(self._client, one),
            taken_back=await find_taken_back(self._client, one, payments),
        )

    async def _read_tariffs(
        self, subscription: stripe.Subscription, items: list[stripe.SubscriptionItem]
    ) -> dict[str, Tariff | None]:
        if subscription.status in ENDED_STATUSES:
            return {item.id: None for item in items if is_metered(item.price)}
        return {
            item.id: await self._tariffs.of(item.price, subscription.currency)
            for item in items
            if is_metered(item.price)
        }

    async def fetch_past(self, stripe_customer_id: str) -> Past:
        """What a customer has had: asked of all subscriptions that there ever were.

        One that was made in place of a customer whom Stripe does not have any more counts as having had everything:
        what the other had cannot be asked. One that Stripe does not have had nothing.
        """
        async with stripe_call("list subscriptions", self._deadline_s):
            try:
                page = await self._client.v1.subscriptions.list_async(
                    {"customer": stripe_customer_id, "status": "all", "limit": _PAGE}
                )
                past = NOTHING_HAD
                async for one in page.auto_paging_iter():
                    began = one.status not in _NEVER_BEGAN
                    past = Past(trial=past.trial or one.trial_start is not None, plan=past.plan or began)
                customer = await self._client.v1.customers.retrieve_async(stripe_customer_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return NOTHING_HAD
            if "metadata" not in customer or customer.metadata is None:  # what is left of a deleted one has none
                return past
            return Past(trial=True, plan=True) if METADATA_BEFORE in customer.metadata.to_dict() else past

    async def fetch_product_tiers(self, product_ids: Sequence[str]) -> dict[str, str]:
        """The tier that the metadata of each product names; products that name none are left out."""
        tiers: dict[str, str] = {}
        for start in range(0, len(product_ids), _PAGE):
            some = list(product_ids[start : start + _PAGE])
            async with stripe_call("list products", self._deadline_s):
                page = await self._client.v1.products.list_async({"ids": some, "limit": _PAGE})
                tiers |= {product.id: tier for product in page.data if (tier := read_tier(product)) is not None}
        return tiers

    async def fetch_entitlements(self, stripe_customer_id: str) -> tuple[str, ...]:
        """Lookup keys of all features that a customer is entitled to, sorted. Every page of them.

        One that was deleted is entitled to nothing: Stripe lists what it had, but does not have it any more.
        """
        async with stripe_call("list entitlements", self._deadline_s):
            try:
                page = await self._client.v1.entitlements.active_entitlements.list_async(
                    {"customer": stripe_customer_id, "limit": _PAGE}
                )
                return tuple(sorted({one.lookup_key async for one in page.auto_paging_iter()}))
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return ()

    async def fetch_dispute(self, dispute_id: str) -> DisputeFacts | None:
        """One dispute with whose payment it is; None if Stripe does not have it."""
        async with stripe_call("read a dispute", self._deadline_s):
            try:
                dispute = await self._client.v1.disputes.retrieve_async(dispute_id, {"expand": ["charge"]})
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None
            return read_dispute(dispute)

    async def fetch_open_disputes(self, since: int, after: str | None = None) -> tuple[list[DisputeFacts], str | None]:
        """A page of the account's disputes that were opened since then: those that are open, and where the next begins.

        Args:
            since: Unix seconds.
            after: Behind which dispute; None: the newest.

        Returns:
            The open ones, and what to pass as `after` for the next page; None: this was the last.
        """
        params: DisputeListParams = {"created": {"gte": since}, "limit": _PAGE, "expand": ["data.charge"]}
        if after is not None:
            params["starting_after"] = after
        async with stripe_call("list disputes", self._deadline_s):
            page = await self._client.v1.disputes.list_async(params)
            found = [facts for one in page.data if (facts := read_dispute(one)).is_open]
            return found, page.data[-1].id if page.has_more and page.data else None

    async def find_owner(self, kind: str, object_id: str) -> Owner | None:
        """Whose object it is, for an event that does not say; None: nobody's, gone, or of a kind that is not read.

        Args:
            kind: Stripe's name: `subscription`, `subscription_schedule`, `checkout.session`, `dispute`, `refund`; or
                that of a thin event, for one that names no object.
            object_id: Its id.
        """
        if kind == "dispute":
            dispute = await self.fetch_dispute(object_id)
            return None if dispute is None else _owner(dispute.stripe_customer_id)
        if kind == NOTIFICATION:
            return await self._find_told(object_id)
        v1 = self._client.v1
        readers: dict[str, Callable[[str], Awaitable[Any]]] = {
            "subscription": v1.subscriptions.retrieve_async,
            "subscription_schedule": v1.subscription_schedules.retrieve_async,
            "invoice": v1.invoices.retrieve_async,
            "checkout.session": v1.checkout.sessions.retrieve_async,
            "charge": v1.charges.retrieve_async,
            "refund": self._fetch_refunded,
        }
        if kind not in readers:
            return None
        async with stripe_call(f"read a {kind}", self._deadline_s):
            try:
                found = await readers[kind](object_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None
            return None if found is None else _owner(id_of(found.customer), claimed_by(found.to_dict()))

    async def _find_told(self, event_id: str) -> Owner | None:
        """Whom the snapshot names that a thin event is the thin form of."""
        async with stripe_call("read an event", self._deadline_s):
            try:
                told = await self._client.v2.core.events.retrieve_async(event_id)
                if "snapshot_event" not in told or told.snapshot_event is None:
                    return None
                snapshot = await self._client.v1.events.retrieve_async(told.snapshot_event)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None
            subject = snapshot.data.object.to_dict()
            return _owner(id_of(subject.get("customer")), claimed_by(subject))

    async def _fetch_refunded(self, refund_id: str) -> stripe.Charge | None:
        """The payment that a refund is of: that names the customer. None: it is of what that had on account."""
        refund = await self._client.v1.refunds.retrieve_async(refund_id, {"expand": ["charge"]})
        if isinstance(refund.charge, str):
            raise TypeError("the charge of a refund was not expanded")
        return refund.charge

    async def fetch_refund(self, charge_id: str) -> dict[str, str | int | bool] | None:
        """What was given back of a payment, for the audit log; None if Stripe does not have it."""
        async with stripe_call("read a charge", self._deadline_s):
            try:
                charge = await self._client.v1.charges.retrieve_async(charge_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None
            return {
                "charge": charge.id,
                "amount": charge.amount,
                "amount_refunded": charge.amount_refunded,
                "currency": charge.currency,
                "refunded": charge.refunded,
            }


def _owner(stripe_customer_id: str | None, claimed: Claimed = NOTHING_CLAIMED) -> Owner | None:
    return None if stripe_customer_id is None else Owner(stripe_customer_id=stripe_customer_id, claimed=claimed)
