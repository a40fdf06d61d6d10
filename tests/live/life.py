"""A gateway's billing half before a Stripe account, and what a seller, a buyer and Stripe's time do to one customer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import stripe

from gateway.billing import Billing
from gateway.billing.events import SUBSCRIBED_TYPES
from gateway.billing.webhook import METADATA_CUSTOMER, read_envelope
from gateway.checkout import Checkouts
from gateway.core.access import decide_access
from gateway.core.access_value import Access
from gateway.core.account import Subscription
from gateway.core.offer import Trial
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from gateway.sync.receiving import keep_event
from tests.billing.conftest import HeldPolicy, SetClock
from tests.live.account import StripeAccount

_MOST_EVENTS = 1_000
_BEFORE_S = 60
"""Stripe's clock and this machine's are not quite one."""
GOOD_CARD = "pm_card_visa"
FAILS_WHEN_CHARGED = "pm_card_chargeCustomerFail"
DISPUTES = "pm_card_createDispute"

Found = TypeVar("Found")


@dataclass(kw_only=True)
class Life:
    """One test's parts. Events are not sent to us: they are read from Stripe's list, and taken as the webhook would."""

    account: StripeAccount
    stripe: stripe.StripeClient
    billing: Billing
    ledger: Ledger
    sync: Sync
    policy: HeldPolicy
    worker: EventWorker
    clock: SetClock
    test_clock: Any = None
    customer_id: str = field(default_factory=lambda: uuid4().hex[:12])
    cus: str = ""
    made: set[str] = field(default_factory=set)
    """Stripe customers that are on no test clock."""
    heard: set[str] = field(default_factory=set)
    began_at: int = 0

    @property
    def user_id(self) -> str:
        return f"user-{self.customer_id}"

    async def begin(self) -> None:
        """A customer of ours, of whom Stripe knows nothing."""
        self.began_at = int(self.account.now())
        self.clock.at = float(self.began_at)
        await self.ledger.create_customer(
            customer_id=self.customer_id, user_id=self.user_id, now=self.began_at, actor="test"
        )

    async def new_customer(self, *, on_clock: bool = True) -> None:
        """A customer of ours that is one of Stripe's, on a test clock or in the time that there is."""
        await self.begin()
        metadata = {METADATA_CUSTOMER: self.customer_id}
        if on_clock:
            clocks = self.stripe.v1.test_helpers.test_clocks
            self.test_clock = await clocks.create_async(
                {"frozen_time": int(self.clock.at), "name": self.account.names.title("clock")}
            )
            self.clock.at = float(self.test_clock.frozen_time)
            customer = await self.stripe.v1.customers.create_async(
                {"test_clock": self.test_clock.id, "metadata": metadata}
            )
        else:
            customer = await self.stripe.v1.customers.create_async({"metadata": metadata})
            self.made.add(customer.id)
        self.cus = await self.ledger.bind_stripe_customer(self.customer_id, customer.id)

    async def new_card(self, card: str) -> None:
        """Put a card on file, as the default, as the portal does."""
        method = await self.stripe.v1.payment_methods.attach_async(card, {"customer": self.cus})
        await self.stripe.v1.customers.update_async(
            self.cus, {"invoice_settings": {"default_payment_method": method.id}}
        )

    async def subscribe(
        self,
        plan_id: str = "pro-monthly",
        *beside: str,
        card: str = GOOD_CARD,
        seats: int = 1,
        on_clock: bool = True,
    ) -> str:
        """A new customer that has bought a plan, and what is named beside it. Returns the subscription's id."""
        await self.new_customer(on_clock=on_clock)
        await self.new_card(card)
        items: list[Any] = [{"price": self.account.prices[plan_id], "quantity": seats}]
        items += [{"price": self.account.prices[one]} for one in beside]
        made = await self.stripe.v1.subscriptions.create_async({"customer": self.cus, "items": items})
        await self.until(lambda found: found is not None and found.plan_id == plan_id and found.status == "active")
        return made.id

    async def pay_as_the_page_does(self, session_id: str, trial: Trial | None = None) -> str:
        """What a checkout page leaves behind that is paid: nobody can pay Stripe's own but a person.

        It is made of what the session says; of a trial it does not say anything.

        Returns:
            The subscription's id.
        """
        sessions = self.stripe.v1.checkout.sessions
        session = await sessions.retrieve_async(session_id)
        lines = await sessions.line_items.list_async(session_id, {"limit": 100})
        assert session.metadata is not None
        order: Any = {
            "customer": self.cus,
            "items": [_item_of(line) async for line in lines.auto_paging_iter()],
            "metadata": session.metadata.to_dict(),
        }
        if session.discounts:
            order["discounts"] = [{"coupon": one.coupon} for one in session.discounts]
        if trial is not None:
            order["trial_period_days"] = trial.days
        if trial is not None and trial.without_card is not None:
            order["trial_settings"] = {"end_behavior": {"missing_payment_method": trial.without_card}}
        return (await self.stripe.v1.subscriptions.create_async(order)).id

    @property
    def checkouts(self) -> Checkouts:
        """The use case, for customers that there are: what makes new ones is not asked."""
        unused: Any = {"provisioning": None, "signups": None, "codec": None}
        return Checkouts(
            ledger=self.ledger,
            billing=self.billing,
            policy=self.policy,
            sync=self.sync,
            clock=self.clock,
            base_url=self.account.public_url,
            **unused,
        )

    async def advance_to(self, instant: int) -> None:
        """Let the time of Stripe and of the gateway go on."""
        clocks = self.stripe.v1.test_helpers.test_clocks
        await clocks.advance_async(self.test_clock.id, {"frozen_time": instant})

        async def arrived() -> bool:
            status = (await clocks.retrieve_async(self.test_clock.id)).status
            assert status in {"advancing", "ready"}, status
            return status == "ready"

        await self.eventually(arrived)
        self.clock.at = float(instant)

    async def eventually(self, ask: Callable[[], Awaitable[Found]], seen: Callable[[], str] = str) -> Found:
        """Ask until there is something. Much of what Stripe does it does by and by."""
        deadline = time.monotonic() + self.account.patience_s
        while not (found := await ask()):
            assert time.monotonic() < deadline, f"it did not come about in time{seen()}"
            await asyncio.sleep(self.account.pause_s)
        return found

    async def until(self, holds: Callable[[Any], object]) -> Subscription:
        """Read and work on events until the ledger's record is as it should be."""

        seen: Subscription | None = None

        async def recorded() -> Subscription | None:
            nonlocal seen
            await self.hear()
            seen = await self.ledger.load_subscription(self.customer_id)
            return seen if holds(seen) else None

        found = await self.eventually(recorded, lambda: f"; last recorded: {seen}")
        assert found is not None
        return found

    async def access(self) -> Access:
        account = await self.ledger.load_account(self.customer_id)
        assert account is not None
        return decide_access(account, self.sync.policy, self.clock.now())

    async def standing(self) -> tuple[str, str | None]:
        """Standing and tier."""
        access = await self.access()
        return access.standing, None if access.tier is None else access.tier.name

    async def invoices(self) -> list[Any]:
        """All of the customer's, the oldest first."""
        page = await self.stripe.v1.invoices.list_async({"customer": self.cus, "limit": 100})
        return sorted([one async for one in page.auto_paging_iter()], key=lambda one: one.created)

    async def lines_of(self, invoice_id: str) -> list[Any]:
        page = await self.stripe.v1.invoices.line_items.list_async(invoice_id, {"limit": 100})
        return [one async for one in page.auto_paging_iter()]

    async def settle_latest(self, subscription_id: str) -> None:
        """Have the latest invoice paid now, if it waits."""
        subscription = await self.stripe.v1.subscriptions.retrieve_async(subscription_id)
        assert isinstance(subscription.latest_invoice, str)
        invoice = await self.stripe.v1.invoices.retrieve_async(subscription.latest_invoice)
        if invoice.status == "draft":
            invoice = await self.stripe.v1.invoices.finalize_invoice_async(invoice.id)
        if invoice.status == "open":
            await self.stripe.v1.invoices.pay_async(invoice.id)

    async def audited(self) -> Sequence[str]:
        """What the audit log says was done, the newest first."""
        return [row.action for row in await self.ledger.list_audit(customer_id=self.customer_id)]

    async def hear(self) -> None:
        """Take the events that are new, and work on them."""
        async for event in self._events():
            if event.id in self.heard:
                continue
            self.heard.add(event.id)
            fields = event.to_dict(for_json=True)
            if event.type in SUBSCRIBED_TYPES and await self._is_ours(fields["data"]["object"]):
                envelope = read_envelope(fields, json.dumps(fields))
                await keep_event(envelope, is_live=False, ledger=self.ledger, now=self.clock.now())
        while await self.worker.work_once():
            pass

    async def _is_ours(self, subject: dict[str, Any]) -> bool:
        """The account has other customers, of whom this gateway would ask Stripe in vain."""
        if subject.get("object") == "dispute":
            return (await self.stripe.v1.charges.retrieve_async(subject["charge"])).customer == self.cus
        return self.cus in {subject.get("customer"), subject.get("id")}

    async def _events(self) -> AsyncIterator[Any]:
        page = await self.stripe.v1.events.list_async({"limit": 100, "created": {"gte": self.began_at - _BEFORE_S}})
        count = 0
        async for event in page.auto_paging_iter():
            yield event
            count += 1
            if count == _MOST_EVENTS:
                return

    async def clear(self) -> None:
        """Delete the test clock, with its customer, and other customers: now, or else at the end of the run."""
        v1 = self.stripe.v1
        if self.test_clock is not None:
            await self._delete(v1.test_helpers.test_clocks, "test_helpers/test_clocks", self.test_clock.id)
        for customer in self.made:
            await self._delete(v1.customers, "customers", customer)

    async def _delete(self, service: Any, path: str, made: str) -> None:
        """A clock that is still on its way cannot be deleted, for one."""
        try:
            await service.delete_async(made)
        except stripe.StripeError:
            self.account.remove_later("DELETE", f"{path}/{made}")


def _item_of(line: Any) -> dict[str, Any]:
    """A line of a checkout as an item of the subscription that it makes."""
    is_metered = line.price.recurring.usage_type == "metered"
    return {"price": line.price.id} if is_metered else {"price": line.price.id, "quantity": line.quantity}
