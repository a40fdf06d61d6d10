"""Overage that was used before a fall of the plan is billed, to the last unit, though its plan has none any more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from gateway.billing import ITEMS_LEFT
from gateway.core.errors import BillingUnavailable
from gateway.core.overage import Overage, PriceName, overage_field
from gateway.core.switching import SwitchTerms
from gateway.core.window import quota_window
from gateway.ledger import UsageTotal
from gateway.reporting import Reporter
from gateway.sync import PlanChanges
from gateway.telemetry import Metrics

pytestmark = pytest.mark.slow

KEY = "fall_overage"


@dataclass(kw_only=True)
class Used:
    """What a customer uses beyond its quota, as the cache counts it: the ledger has it once it is settled."""

    shop: Any
    customer_id: str = ""
    total: int = 0
    seq: int = 0
    is_cache_down: bool = False

    async def settle(self, customer_id: str) -> bool:
        if self.is_cache_down:
            return False
        account = await self.shop.ledger.load_account(customer_id)
        start = quota_window(account, self.shop.sandbox.clock.now(), None)[0]
        self.seq += 1
        total = UsageTotal(
            customer_id=customer_id,
            field=overage_field("requests"),
            window_starts_at=start,
            used=self.total,
            seq=self.seq,
        )
        await self.shop.ledger.settle([total])
        return True


async def changes_of(shop: Any, **terms: Any) -> tuple[PlanChanges, Reporter, Used]:
    """The changes of a seller who bills overage of the highest tier only."""
    v1 = shop.sandbox.stripe.v1
    if not (await v1.prices.list_async({"lookup_keys": [KEY]})).data:
        product = await v1.products.create_async({"name": "Beyond"})
        recurring: Any = {"interval": "month", "usage_type": "metered", "meter": "mtr_api_overage"}
        await v1.prices.create_async(
            {"product": product.id, "currency": "usd", "unit_amount": 3, "recurring": recurring, "lookup_key": KEY}
        )
    held = shop.sync._policy
    overage = Overage(meter="requests", stripe_meter="api_overage", price=PriceName(lookup_key=KEY))
    tiers = held.current.tiers | {"enterprise": replace(held.current.tiers["enterprise"], overages=(overage,))}
    switching = SwitchTerms(**{"downgrade": ("now", "period-end"), "proration": "next invoice"} | terms)
    held.current = replace(held.current, tiers=tiers, switching=switching)
    used = Used(shop=shop)
    shop.sync.settle = used.settle
    reporter = Reporter(
        ledger=shop.ledger,
        billing=shop.billing,
        check_account=shop.sync.account.check,
        policy=held,
        clock=shop.sandbox.clock,
        metrics=Metrics(),
    )
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock), reporter, used


async def metered(shop: Any, customer_id: str) -> list[str]:
    subscription_id = (await shop.load(customer_id)).subscription_id
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription_id)
    return [item.price.lookup_key for item in subscription["items"].data if item.price.lookup_key == KEY]


async def reported(shop: Any, reporter: Reporter) -> None:
    """As much later as all that was used needs to have stood, and to be counted."""
    for seconds in (70, 70, 70, 1800):
        await shop.sandbox.control("clock/advance", seconds=seconds)
        await reporter.report_due()
        await shop.settle()


async def billed(shop: Any, customer_id: str) -> int:
    """Cents of overage on the next invoice."""
    subscription_id = (await shop.load(customer_id)).subscription_id
    invoice = await shop.sandbox.stripe.v1.invoices.create_preview_async({"subscription": subscription_id})
    lines = [line async for line in invoice.lines.auto_paging_iter()]
    return sum(line.amount for line in lines if "Beyond" in (line.description or ""))


async def test_whoever_goes_up_and_down_again_within_a_minute_pays_for_what_was_used_between(shop: Any) -> None:
    changes, reporter, used = await changes_of(shop)
    customer_id = await shop.buyer("pro-monthly")
    await shop.sandbox.control("clock/advance", seconds=3 * 86_400)
    for _ in range(3):
        await changes.apply(customer_id, "enterprise-monthly", actor="customer")
        await shop.settle()
        used.total += 50_000
        await shop.sandbox.control("clock/advance", seconds=20)
        await changes.apply(customer_id, "pro-monthly", actor="customer")
        await shop.settle()
        assert await metered(shop, customer_id) == [KEY], "it stays until all is reported"
        await reported(shop, reporter)
        assert await metered(shop, customer_id) == []
    assert [one.units for one in await shop.ledger.list_reports()] == [50_000] * 3
    assert await billed(shop, customer_id) == 3 * 50_000 * 3


async def test_an_item_that_was_not_used_goes_with_the_change(shop: Any) -> None:
    changes, _, _ = await changes_of(shop)
    customer_id = await shop.buyer("enterprise-monthly")
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert await metered(shop, customer_id) == []
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


async def test_an_item_that_was_given_up_stays_for_whoever_wants_it_back(shop: Any) -> None:
    changes, reporter, used = await changes_of(shop)
    customer_id = await shop.buyer("enterprise-monthly")
    used.total = 10
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    await reported(shop, reporter)
    assert await metered(shop, customer_id) == [KEY]
    assert await billed(shop, customer_id) == 10 * 3


async def test_an_item_stays_while_the_cache_does_not_tell_what_was_used(shop: Any) -> None:
    changes, reporter, used = await changes_of(shop)
    customer_id = await shop.buyer("enterprise-monthly")
    used.total, used.is_cache_down = 10, True
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    await shop.settle()
    assert await metered(shop, customer_id) == [KEY]
    asked = [one.event_id for one in await shop.ledger.list_events() if one.type == ITEMS_LEFT]
    assert asked, "it is looked at again"
    assert "/" not in "".join(asked), "so that people can show and replay it by its address"
    used.is_cache_down = False
    await used.settle(customer_id)
    await reported(shop, reporter)
    assert await metered(shop, customer_id) == []
    assert await billed(shop, customer_id) == 10 * 3


async def test_an_item_stays_as_long_as_reports_of_it_wait(shop: Any) -> None:
    changes, reporter, used = await changes_of(shop)
    customer_id = await shop.buyer("enterprise-monthly")
    used.total = 10
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    is_down = True

    async def check() -> None:
        if is_down:
            raise BillingUnavailable("down", retry_after_s=1)

    reporter._check_account = check
    await reported(shop, reporter)
    assert await metered(shop, customer_id) == [KEY]
    is_down = False
    await shop.sandbox.control("clock/advance", seconds=3600)
    await reported(shop, reporter)
    assert await metered(shop, customer_id) == []
    assert await billed(shop, customer_id) == 10 * 3


async def test_what_comes_when_the_item_is_gone_is_noted_as_unbilled(shop: Any) -> None:
    changes, reporter, used = await changes_of(shop)
    customer_id = await shop.buyer("enterprise-monthly")
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    assert await metered(shop, customer_id) == []
    used.total = 7
    await shop.sandbox.control("clock/advance", seconds=5)
    await used.settle(customer_id)
    await reported(shop, reporter)
    assert [one.unbilled for one in await shop.ledger.list_unbilled(customer_id)] == [7]


@pytest.mark.parametrize(("when", "terms"), [("period-end", {}), ("now", {"proration": "none"})])
async def test_a_preview_without_proration_tells_what_was_used(shop: Any, when: Any, terms: dict[str, Any]) -> None:
    changes, reporter, used = await changes_of(shop, **terms)
    customer_id = await shop.buyer("enterprise-monthly")
    used.total = 5_000
    await used.settle(customer_id)
    await reported(shop, reporter)
    told = (await changes.preview(customer_id, "pro-monthly", when=when)).cost.next_invoice
    assert told == 2900 + 5_000 * 3
    await changes.apply(customer_id, "pro-monthly", actor="customer", when=when)
    recorded = await shop.load(customer_id)
    await shop.sandbox.control("clock/advance", until=recorded.period_ends_at + 2 * 3600)
    await shop.settle()
    found = await shop.sandbox.stripe.v1.invoices.list_async({"subscription": recorded.subscription_id})
    assert sum(one.amount_paid for one in found.data) == 49_900 + told
