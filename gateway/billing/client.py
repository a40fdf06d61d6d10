"""Everything we ask of Stripe, through its official SDK.

One `Billing` per event loop. Answers are plain frozen values; failures are
`BillingUnavailable` (waiting helps) or `BillingRefused`; which is decided in `failures`.
Prices to be charged come from policy and from nowhere else: no caller names one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Self

import stripe

from gateway.billing.account import AccountReader
from gateway.billing.checkout_params import Buyer, checkout_params
from gateway.billing.customer_list import CustomerList
from gateway.billing.destinations import DestinationKeeper
from gateway.billing.endpoints import EndpointKeeper
from gateway.billing.facts import FactReader
from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.health import StripeReport, examine
from gateway.billing.idle import IdleSubscriptions
from gateway.billing.invoices import InvoiceReader
from gateway.billing.labels import customer_labels
from gateway.billing.meter_errors import MeterErrors
from gateway.billing.meter_events import MeterEvents
from gateway.billing.meter_facts import MeterFacts
from gateway.billing.options import StripeOptions
from gateway.billing.pace import Pace
from gateway.billing.plan_changes import PlanChanger
from gateway.billing.portal import PortalFlow, portal_params
from gateway.billing.prices import PriceList
from gateway.billing.reading import (
    CheckoutFacts,
    PriceFacts,
    read_checkout,
)
from gateway.billing.sales import Sales
from gateway.billing.told import FIRST_TOLD, Told, ToldTo, fetch_told
from gateway.billing.transport import NoTransport, Transport
from gateway.billing.undelivered import FIRST_SWEPT, SweptTo, fetch_undelivered
from gateway.billing.values import CheckoutLink, CouponFacts
from gateway.billing.webhook import (
    METADATA_BEFORE,
    EventEnvelope,
)
from gateway.core.billing_facts import CustomerFacts
from gateway.core.errors import BillingRefused
from gateway.core.offer import AddOn
from gateway.core.overage import PriceName
from gateway.core.policy import Plan
from gateway.core.purchase import Purchase

API_VERSION = "2026-10-28.endive"
"""The version every request is made in. It changes with the SDK, on purpose, in one commit."""
RETRIES = 2
"""Tries beyond the first after a lost connection, a conflict or a 5xx, with the same idempotency key."""
_PAGE = 100
_NO_KEY = "none"
"""The SDK wants one, and sends it to nobody."""


class Billing:
    """Stripe, as this program sees it. Open it inside the event loop that uses it; close it with `aclose`."""

    @classmethod
    async def open(cls, options: StripeOptions) -> Self:
        """Nothing is connected before the first call, so a Stripe that is down does not matter here."""
        return cls(options)

    def __init__(self, options: StripeOptions) -> None:
        stripe.enable_telemetry = False  # it would write an id into the home directory and send the platform
        stripe.set_app_info("tiergate")
        logging.getLogger("stripe").setLevel(logging.WARNING)  # below, it writes whole bodies
        key = options.secret_key or _NO_KEY
        self.is_configured = options.secret_key is not None
        """Whether there is a Stripe. If not, whatever would ask it fails with `BillingNotConfigured`."""
        self.is_live = "_live_" in key[:8]
        """Whether real money moves."""
        self._deadline_s = options.deadline_s
        self._portal_configuration = options.portal_configuration
        self.pace = Pace(options.background_per_s)
        """Background work takes its turn here before it asks."""
        self._transport: Transport | NoTransport = NoTransport()
        if self.is_configured:
            is_far = options.base_url is None
            self._transport = Transport(timeout_s=options.timeout_s, through_proxy=is_far, pace=self.pace)
        self._client = stripe.StripeClient(
            key,
            stripe_version=API_VERSION,
            base_addresses={} if options.base_url is None else {"api": options.base_url},
            max_network_retries=RETRIES,
            http_client=self._transport,
        )
        self.account = AccountReader(self._client, deadline_s=options.deadline_s)
        """Whose key it is."""
        self.facts = FactReader(self._client, price_ttl_s=options.price_ttl_s, deadline_s=options.deadline_s)
        """What a customer has at Stripe."""
        self.customers = CustomerList(
            self._client,
            deadline_s=options.deadline_s,
            searches_per_s=options.searches_per_s,
            patience_s=options.search_patience_s,
        )
        """All customers of the account."""
        self.endpoints = EndpointKeeper(self._client, api_version=API_VERSION, deadline_s=options.deadline_s)
        """Webhook endpoints."""
        self.destinations = DestinationKeeper(self._client, deadline_s=options.deadline_s)
        """Event destinations."""
        self.idle = IdleSubscriptions(self._client, deadline_s=options.deadline_s)
        """Subscriptions that do not run and may begin to."""
        self.invoices = InvoiceReader(self._client, deadline_s=options.deadline_s)
        """What a customer is billed."""
        self._prices = PriceList(self._client, ttl_s=options.price_ttl_s, deadline_s=options.deadline_s)
        self._sales = Sales(self._client, self._prices, deadline_s=options.deadline_s)
        self.changes = PlanChanger(self._client, self._prices, self._sales, deadline_s=options.deadline_s)
        """Changes of running subscriptions."""
        self.meter_events = MeterEvents(self._client, deadline_s=options.deadline_s)
        """Units beyond quotas."""
        self.meter_errors = MeterErrors(self._client, deadline_s=options.deadline_s)
        """What became of them later."""

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.close_async()

    async def create_customer(
        self, customer_id: str, user_id: str, *, instead_of: str | None = None, ledger_id: str | None = None
    ) -> str:
        """The Stripe customer for one of ours. Asked again within a day, the answer is the same customer.

        Args:
            customer_id: Ours.
            user_id: The seller's.
            instead_of: The Stripe customer it had, which Stripe does not have any more.
            ledger_id: Of the ledger that `customer_id` is in.

        Returns:
            Its id. Bind it with `Ledger.bind_stripe_customer`, and use the id which that returns.
        """
        metadata = customer_labels(customer_id, user_id, ledger_id)
        if instead_of is not None:
            metadata[METADATA_BEFORE] = instead_of
        parts = (("after", instead_of), ("of", ledger_id))  # whatever is in the parameters is in the key
        key = f"tiergate-customer-{customer_id}" + "".join(f"-{word}-{one}" for word, one in parts if one is not None)
        async with stripe_call("create a customer", self._deadline_s):
            customer = await self._client.v1.customers.create_async({"metadata": metadata}, {"idempotency_key": key})
            return customer.id

    async def create_checkout(self, purchase: Purchase, buyer: Buyer) -> CheckoutLink | None:
        """A hosted checkout page that sells a plan, and what goes with it, to a customer of Stripe.

        Returns:
            None if Stripe does not have this customer any more.

        Raises:
            BillingRefused: Also if Stripe has no active price for any of it, or if the prices do not fit together.
        """
        price_ids, metered_ids = await self._sales.price_ids(purchase)
        params = checkout_params(purchase, buyer, price_ids, metered_ids)
        async with stripe_call("create a checkout", self._deadline_s):
            try:
                session = await self._client.v1.checkout.sessions.create_async(params)
            except stripe.InvalidRequestError as error:
                if not is_missing(error) or error.param != "customer":
                    raise
                return None
            if session.url is None:
                raise BillingRefused("The payment provider made a checkout without a page.")
            return CheckoutLink(
                url=session.url, session_id=session.id, created_at=session.created, expires_at=session.expires_at
            )

    async def close_checkout(self, session_id: str) -> None:
        """Have a checkout page take no payment any more. One that is paid or has expired stays as it is."""
        async with stripe_call("close a checkout", self._deadline_s):
            try:
                await self._client.v1.checkout.sessions.expire_async(session_id)
            except stripe.InvalidRequestError:
                session = await self._client.v1.checkout.sessions.retrieve_async(session_id)
                if session.status == "open":
                    raise

    async def close_checkouts(self, stripe_customer_id: str, *, but: CheckoutLink | None = None) -> int:
        """Close every open checkout of a customer that was begun here, or all but one. Returns how many.

        A page that says no plan in its metadata is the seller's own, and what it sells is the seller's to say.
        Stripe does not tell which of two was begun first within a second. Of several callers at once, each for
        its own, one at most is left open, and none if each closes another's: let them take turns.
        """
        async with stripe_call("list checkouts", self._deadline_s):
            page = await self._client.v1.checkout.sessions.list_async(
                {"customer": stripe_customer_id, "status": "open", "limit": _PAGE}
            )
            kept = None if but is None else but.session_id
            ours = [one.id async for one in page.auto_paging_iter() if read_checkout(one).plan_id is not None]
            others = [session_id for session_id in ours if session_id != kept]
        for session_id in others:
            await self.close_checkout(session_id)
        return len(others)

    async def fetch_checkout(self, session_id: str) -> CheckoutFacts | None:
        """A checkout session as it is now; None if Stripe has no such session."""
        async with stripe_call("read a checkout", self._deadline_s):
            try:
                session = await self._client.v1.checkout.sessions.retrieve_async(session_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None
            return read_checkout(session)

    async def create_portal_session(
        self, stripe_customer_id: str, return_url: str, flow: PortalFlow | None = None
    ) -> str | None:
        """Address of Stripe's page where a customer sees invoices, changes cards and cancels.

        Args:
            stripe_customer_id: Whose.
            return_url: Where the page leads back to.
            flow: The one act it is to open at; None: its beginning.

        Returns:
            None if Stripe does not have this customer any more.
        """
        params = portal_params(stripe_customer_id, return_url, flow, self._portal_configuration)
        async with stripe_call("create a portal session", self._deadline_s):
            try:
                session = await self._client.v1.billing_portal.sessions.create_async(params)
            except stripe.InvalidRequestError as error:
                if not is_missing(error) or error.param != "customer":
                    raise
                return None
            return session.url

    async def fetch_subscription_facts(self, stripe_customer_id: str) -> CustomerFacts:
        """All subscriptions of a customer; see `FactReader.fetch_subscriptions`."""
        return await self.facts.fetch_subscriptions(stripe_customer_id)

    async def fetch_prices(self, plans: Iterable[Plan]) -> dict[str, PriceFacts]:
        """What each plan costs, by plan id; remembered for a while. Plans without a price are left out."""
        return await self._prices.of({plan.plan_id: plan for plan in plans})

    async def fetch_add_on_prices(self, add_ons: Mapping[str, AddOn]) -> dict[str, PriceFacts]:
        """What each add-on costs, by its name; as `fetch_prices`."""
        return await self._prices.of(add_ons)

    async def find_coupon(self, coupon_id: str) -> CouponFacts | None:
        """A coupon as it is now; None: Stripe does not have it."""
        async with stripe_call("read a coupon", self._deadline_s):
            try:
                coupon = await self._client.v1.coupons.retrieve_async(coupon_id, {"expand": ["applies_to"]})
                applies_to = coupon.applies_to if "applies_to" in coupon else None
                products = () if applies_to is None else tuple(applies_to.products)
                return CouponFacts(is_valid=coupon.valid, products=products)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return None

    async def find_overage_price(self, price: PriceName) -> PriceFacts | None:
        """A metered price that policy names, read now; None: Stripe does not have it."""
        return await self._prices.find_overage(price)

    async def fetch_currencies(self, price_id: str) -> frozenset[str]:
        """Every currency that a price asks in, its own too, read now."""
        return await self._prices.fetch_currencies(price_id)

    async def fetch_meter(self, meter_id: str) -> MeterFacts:
        """The Billing Meter of a price."""
        return await self._sales.fetch_meter(meter_id)

    def forget_prices(self) -> None:
        """Read prices again when they are next asked for."""
        self._prices.forget()
        self.facts.forget_tariffs()

    async def fetch_undelivered(
        self, since: int, at: SweptTo = FIRST_SWEPT
    ) -> tuple[list[EventEnvelope], SweptTo | None]:
        """A page of the events made since then that did not reach every webhook endpoint, and where the next is."""
        return await fetch_undelivered(self._client, since, at, self._deadline_s)

    async def fetch_told(self, wanted: Told, at: ToldTo = FIRST_TOLD) -> tuple[list[EventEnvelope], ToldTo | None]:
        """A page of the thin events of some types and a time, delivered or not, and where the next is."""
        return await fetch_told(self._client, wanted, at, self._deadline_s)

    async def describe(self, also: frozenset[str] = frozenset()) -> StripeReport:
        """What this key may do and how the account is set up, for `doctor`. Asks only; changes nothing.

        Args:
            also: What this policy needs beside: `entitlements`, `billing meters`.

        Raises:
            BillingUnavailable: Stripe does not answer, so there is nothing to say.
        """
        return await examine(
            self._client,
            is_live=self.is_live,
            deadline_s=self._deadline_s,
            also=also,
            portal_configuration=self._portal_configuration,
        )
