"""Every request that the gateway makes of Stripe is made here, and is one that the pinned SDK knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import gateway.billing
from gateway.billing import THIN_TYPES, Billing, Buyer, LaterChange, PlanChange, PortalFlow, StripeOptions, Told
from gateway.billing.facts import NOTHING_HAD
from gateway.billing.transport import Transport
from gateway.core.billing_facts import PaymentsAsked
from gateway.core.errors import BillingRefused
from gateway.core.lifecycle import REFUNDED, TAKEN_BACK
from gateway.core.offer import AddOn, CheckoutTerms, SeatRange, Trial
from gateway.core.overage import MeteredPrice, PriceName
from gateway.core.policy import Plan
from gateway.core.purchase import Purchase
from gateway.core.tariff import Tariff
from gateway.sandbox import Listening, Running, running
from tests.stripe_sdk.calls import requests_in
from tests.stripe_sdk.wire import Wire

SOURCE = Path(gateway.billing.__file__).parent
URLS = {"success_url": "http://127.0.0.1/done", "cancel_url": "http://127.0.0.1/pricing"}
OVERAGE = MeteredPrice(price=PriceName(lookup_key="api_overage"), stripe_meter="api_overage")


def plan(name: str, price_id: str | None = None) -> Plan:
    lookup_key = None if price_id else name.replace("-", "_")
    return Plan(plan_id=name, tier="pro", title=name, price_id=price_id, lookup_key=lookup_key)


@pytest.fixture
async def stripe() -> AsyncIterator[Running]:
    async with running(Listening(seeded=True, run="t")) as now:
        yield now


async def test_every_call_of_stripe_is_one_that_the_sdk_knows(stripe: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = Wire(checks_refused=True)
    monkeypatch.setattr(Transport, "request_async", wire.noting(Transport.request_async))
    billing = await Billing.open(StripeOptions(secret_key=stripe.key, base_url=stripe.stripe_url))
    try:
        await make_every_call(billing)
        await end_idle(billing)
    finally:
        await billing.aclose()
    assert wire.faults == []
    assert requests_in(SOURCE) - wire.asked == set()


async def take_back(billing: Billing, cus: str) -> None:
    """What was paid, and is given back."""
    v1 = billing._client.v1
    charge = (await v1.charges.list_async({"customer": cus})).data[0]
    refund = await v1.refunds.create_async({"charge": charge.id})
    owner = await billing.facts.find_owner("refund", refund.id)
    assert owner is not None
    assert owner.stripe_customer_id == cus
    [facts] = (await billing.facts.fetch_subscriptions(cus, PaymentsAsked(rows=frozenset(TAKEN_BACK)))).subscriptions
    assert [row for row, _ in facts.taken_back] == [REFUNDED]


async def reduced(billing: Billing) -> Purchase:
    """With a coupon."""
    coupon = await billing._client.v1.coupons.create_async({"percent_off": 10.0, "duration": "once"})
    return Purchase(plan=plan("pro-monthly"), seats=1, add_ons=(), coupon=coupon.id)


async def make_every_call(billing: Billing) -> None:
    cus = await billing.create_customer("customer0001", "user")
    buyer = Buyer(stripe_customer_id=cus, customer_id="customer0001", user_id="user", **URLS)
    pack = AddOn(name="pack", title="Pack", price_id="price_enterprise_monthly", lookup_key=None)
    first = await billing.create_checkout(
        Purchase(plan=plan("pro-monthly"), seats=1, add_ons=(pack,), metered=(OVERAGE,)),
        buyer,
    )
    seated = replace(plan("pro-monthly"), seats=SeatRange(least=1, most=9))
    for trial in (Trial(days=7), Trial(days=7, without_card="pause"), Trial(days=7, without_card="cancel")):
        terms = CheckoutTerms(trial=trial, billing_address=True, promotion_codes=True, tax=True)
        tried = replace(plan("pro-monthly"), terms=terms)
        assert await billing.create_checkout(Purchase(plan=tried, seats=1, add_ons=(), trial=trial), buyer) is not None
    assert await billing.facts.fetch_past(cus) == NOTHING_HAD
    assert await billing.find_coupon("LAUNCH") is None
    for name in ("promotion_codes", "tax", "billing_address"):
        on = replace(plan("pro-monthly"), terms=CheckoutTerms(**{name: True}))
        assert await billing.create_checkout(Purchase(plan=on, seats=1, add_ons=()), buyer) is not None
    assert await billing.create_checkout(await reduced(billing), buyer) is not None
    link = await billing.create_checkout(Purchase(plan=seated, seats=3, add_ons=()), buyer)
    assert first is not None
    assert link is not None
    await billing.close_checkouts(cus, but=link)
    await billing.close_checkout(first.session_id)
    assert await billing.fetch_checkout(link.session_id) is not None
    await pay(link.url)
    facts = await billing.fetch_subscription_facts(cus)
    await billing.facts.fetch_product_tiers([item.product_id for one in facts.subscriptions for item in one.items])
    assert await billing.facts.fetch_entitlements(cus) == ()
    assert await billing.facts.fetch_dispute("du_none") is None
    assert await billing.facts.fetch_open_disputes(0) == ([], None)
    assert await billing.facts.fetch_refund("ch_none") is None
    await find_owners(billing, cus)
    [subscription] = facts.subscriptions
    change = PlanChange(
        subscription_id=subscription.subscription_id,
        item_id=subscription.items[0].item_id,
        from_price_id=subscription.items[0].price_id,
        price_id=(await billing.changes.fetch_price(plan("enterprise-monthly"))).price_id,
        at=subscription.items[0].period_starts_at,
        adds=("price_api_overage",),
    )
    await billing.changes.preview(replace(change, ends_trial=True))
    [paid] = (await billing._client.v1.invoices.list_async({"customer": cus})).data
    await billing.changes.give_up(paid.id)
    await plan_later(billing, cus, change, subscription.items[0].period_ends_at)
    await billing.changes.apply(replace(change, ends_trial=True))
    await read_invoices(billing, cus, subscription.started_at)
    await report_usage(billing, cus, change)
    await billing.create_portal_session(cus, "http://127.0.0.1/account")
    flow = PortalFlow(
        name="subscription_update_confirm",
        done_url="http://127.0.0.1/account?done=1",
        subscription_id=subscription.subscription_id,
        item_id=subscription.items[0].item_id,
        price_id="price_pro_yearly",
    )
    await billing.create_portal_session(cus, "http://127.0.0.1/account", flow)
    await billing.fetch_prices([plan("pro-monthly"), plan("by-id", "price_pro_yearly")])
    assert (await billing.fetch_undelivered(0))[0] == []
    await billing.describe(frozenset({"entitlements", "billing meters"}))
    [listed], _ = await billing.customers.fetch_page(None)
    assert (listed.stripe_customer_id, listed.claimed_id) == (cus, "customer0001")
    await billing.customers.write_ids(cus, customer_id="customer0001", user_id='us"er', ledger_id="ledger")
    [found] = await billing.customers.find_labelled("customer0002", 'us"er')
    assert (found.stripe_customer_id, found.ledger_id) == (cus, "ledger")
    assert await billing.account.has_customer(cus)
    assert await billing.customers.fetch_page(cus) == ([], False)
    await mend_endpoints(billing)


async def find_owners(billing: Billing, cus: str) -> None:
    for kind in ("subscription", "invoice", "checkout.session", "charge", "v2.core.event"):
        assert await billing.facts.find_owner(kind, "none") is None
    about_cus = (await billing._client.v1.events.list_async({"type": "customer.created"})).data[0]
    assert await billing.facts.find_owner("v2.core.event", about_cus.id.replace("evt_", "evt_thin_")) is None
    told, _ = await billing.fetch_told(Told(types=("v1.customer.created",), since=0, until=2_000_000_000))
    assert [one.stripe_customer_id for one in told] == [cus]
    await take_back(billing, cus)


async def plan_later(billing: Billing, cus: str, change: PlanChange, at: int) -> None:
    later = LaterChange(
        takes_effect_at=at,
        change=change,
        lasts=("month", 1),
        customer_id="customer0001",
        plan_id="enterprise-monthly",
    )
    await billing.changes.later.plan(later)
    [planned] = (await billing.fetch_subscription_facts(cus)).subscriptions
    assert planned.schedule is not None
    assert await billing.changes.later.plan_anew(planned.schedule.schedule_id)
    [planned] = (await billing.fetch_subscription_facts(cus)).subscriptions
    assert planned.schedule is not None
    await billing.changes.later.release(planned.schedule.schedule_id)


async def read_invoices(billing: Billing, cus: str, start: int) -> None:
    meters = await billing.invoices.fetch_meters()
    assert meters.name_of("mtr_api_overage") == "api_overage"
    assert (await billing.fetch_meter("mtr_api_overage")).formula == "sum"
    assert len(await billing.invoices.fetch(cus, 0, start + 1, meters)) == 1
    assert await billing.invoices.fetch("cus_none", 0, 1, meters) == []
    assert await billing.invoices.fetch_open(cus) == await billing.invoices.fetch_open("cus_none") == []
    (running,) = await billing.invoices.fetch_running(cus, meters)
    assert (running.stripe_meter, running.starts_at) == ("api_overage", start)
    wanted = [("api_overage", start, start + 90), ("nobody", start, start + 90)]
    assert await billing.invoices.fetch_counted(cus, wanted, meters) == {("api_overage", start): 0}


async def report_usage(billing: Billing, cus: str, change: PlanChange) -> None:
    (changed,) = (await billing.fetch_subscription_facts(cus)).subscriptions
    (metered,) = (item for item in changed.items if item.is_metered)
    assert metered.tariff == Tariff(currency="usd", unit_amount="0.1")
    gone = {"removes": ((metered.item_id, metered.price_id),), "metered": frozenset({metered.item_id})}
    await billing.changes.apply(replace(change, adds=(), **gone))
    await billing.changes.remove_used(change.subscription_id, [metered.item_id], "next invoice")
    usage = {"event_name": "api_overage", "stripe_customer_id": cus, "identifier": "once", "units": 3, "at": change.at}
    assert await billing.meter_events.send(**usage, tried_at=change.at)
    assert not await billing.meter_events.send(**usage, tried_at=change.at + 5)
    with pytest.raises(BillingRefused):
        await billing.meter_errors.of("evt_none", '{"object": "v2.core.event"}')


async def end_idle(billing: Billing) -> None:
    ((customer,), _) = await billing.customers.fetch_page(None)
    cus = customer.stripe_customer_id
    (running,) = (await billing.fetch_subscription_facts(cus)).subscriptions
    assert not await billing.idle.end(running.subscription_id)
    assert (await billing.changes.fetch_means(running.subscription_id)).kind == "card"
    made = await billing._client.v1.subscriptions.create_async(
        {"customer": cus, "items": [{"price": "price_pro_monthly"}], "payment_behavior": "default_incomplete"}
    )
    assert await billing.idle.end(made.id)


async def mend_endpoints(billing: Billing) -> None:
    made = await billing.endpoints.create("http://127.0.0.1:9/webhook")
    await billing.endpoints.repair(made.endpoint_id)
    assert [one.missing_types for one in await billing.endpoints.fetch_all()] == [()]
    await billing.endpoints.remove(made.endpoint_id)
    made = await billing.destinations.create("http://127.0.0.1:9/webhook", THIN_TYPES[:2])
    await billing._client.v2.core.event_destinations.disable_async(made.endpoint_id)
    await billing.destinations.repair(made.endpoint_id, THIN_TYPES, is_enabled=False)
    assert [one.types for one in await billing.destinations.fetch_all()] == [THIN_TYPES]
    await billing.destinations.remove(made.endpoint_id)


async def pay(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as browser:
        answer = await browser.post(url, data={"card_number": "4242424242424242", "email": "buyer@example.com"})
    assert answer.status_code == 303
