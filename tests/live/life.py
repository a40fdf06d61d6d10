"""A gateway's billing half before a Stripe account, and what a seller and Stripe's time do to one customer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import stripe

from gateway.billing import Billing
from gateway.billing.events import SUBSCRIBED_TYPES
from gateway.billing.webhook import METADATA_CUSTOMER, read_envelope
from gateway.core.access import Access, decide_access
from gateway.core.account import Subscription
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from gateway.sync.receiving import keep_event
from tests.billing.conftest import SetClock
from tests.live.account import StripeAccount

_MOST_EVENTS = 1_000
GOOD_CARD = "pm_card_visa"
FAILS_WHEN_CHARGED = "pm_card_chargeCustomerFail"


@dataclass(kw_only=True)
class Life:
    """One test's parts. Events are not sent to us: they are read from Stripe's list, and taken as the webhook would."""

    account: StripeAccount
    stripe: stripe.StripeClient
    billing: Billing
    ledger: Ledger
    sync: Sync
    worker: EventWorker
    clock: SetClock
    test_clock: Any = None
    customer_id: str = field(default_factory=lambda: uuid4().hex[:12])
    cus: str = ""
    made: list[str] = field(default_factory=list)
    """Stripe customers that are on no test clock."""
    heard: set[str] = field(default_factory=set)

    async def new_customer(self) -> None:
        """A customer of ours that is one of Stripe's on a test clock."""
        self.clock.at = float(int(self.account.now()))
        clocks = self.stripe.v1.test_helpers.test_clocks
        self.test_clock = await clocks.create_async({"frozen_time": int(self.clock.at), "name": self.account.run})
        self.clock.at = float(self.test_clock.frozen_time)
        user_id = f"user-{self.customer_id}"
        await self.ledger.create_customer(
            customer_id=self.customer_id, user_id=user_id, now=int(self.clock.at), actor="test"
        )
        customer = await self.stripe.v1.customers.create_async(
            {"test_clock": self.test_clock.id, "metadata": {METADATA_CUSTOMER: self.customer_id}}
        )
        self.cus = await self.ledger.bind_stripe_customer(self.customer_id, customer.id)

    async def new_card(self, card: str) -> None:
        """Put a card on file, as the default, as the portal does."""
        method = await self.stripe.v1.payment_methods.attach_async(card, {"customer": self.cus})
        await self.stripe.v1.customers.update_async(
            self.cus, {"invoice_settings": {"default_payment_method": method.id}}
        )

    async def subscribe(self, plan_id: str = "pro-monthly") -> str:
        """What a paid checkout leaves behind. Returns the subscription's id."""
        await self.new_customer()
        await self.new_card(GOOD_CARD)
        price = self.account.prices[list(self.account.plans).index(plan_id)]
        made = await self.stripe.v1.subscriptions.create_async({"customer": self.cus, "items": [{"price": price}]})
        await self.until(lambda found: found is not None and found.plan_id == plan_id)
        return made.id

    async def advance_to(self, instant: int) -> None:
        """Let the time of Stripe and of the gateway go on."""
        clocks = self.stripe.v1.test_helpers.test_clocks
        moving = await clocks.advance_async(self.test_clock.id, {"frozen_time": instant})
        deadline = time.monotonic() + self.account.patience_s
        while moving.status == "advancing":
            assert time.monotonic() < deadline, "the test clock is still on its way"
            await asyncio.sleep(0.0 if self.account.base_url else 2.0)
            moving = await clocks.retrieve_async(self.test_clock.id)
        assert moving.status == "ready", moving.status
        self.clock.at = float(instant)

    async def until(self, holds: Callable[[Subscription | None], object]) -> Subscription:
        """Read and work on events until the ledger's record is as it should be."""
        deadline = time.monotonic() + self.account.patience_s
        while True:
            await self._hear()
            found = await self.ledger.load_subscription(self.customer_id)
            if holds(found):
                assert found is not None
                return found
            assert time.monotonic() < deadline, f"it did not come about in time; last seen: {found}"
            await asyncio.sleep(0.05 if self.account.base_url else 2.0)

    async def access(self) -> Access:
        account = await self.ledger.load_account(self.customer_id)
        assert account is not None
        return decide_access(account, self.sync.policy, self.clock.now())

    async def _hear(self) -> None:
        async for event in self._events():
            if event.id in self.heard:
                continue
            self.heard.add(event.id)
            fields = event.to_dict(for_json=True)
            if fields["data"]["object"].get("customer") != self.cus or event.type not in SUBSCRIBED_TYPES:
                continue
            envelope = read_envelope(fields, json.dumps(fields))
            await keep_event(envelope, is_live=False, ledger=self.ledger, now=self.clock.now())
        while await self.worker.work_once():
            pass

    async def _events(self) -> AsyncIterator[Any]:
        page = await self.stripe.v1.events.list_async({"limit": 100})
        count = 0
        async for event in page.auto_paging_iter():
            yield event
            count += 1
            if count == _MOST_EVENTS:
                return

    async def clear(self) -> None:
        """Delete the test clock, with its customer, and other customers."""
        if self.test_clock is not None:
            await self.stripe.v1.test_helpers.test_clocks.delete_async(self.test_clock.id)
        for customer in self.made:
            await self.stripe.v1.customers.delete_async(customer)
