"""What the sandbox emits is what the pinned SDK knows: objects of every kind, and every event."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stripe_sdk.objects import faults_of

pytestmark = pytest.mark.slow


async def _raw(sandbox: Any, path: str, **form: Any) -> dict[str, Any]:
    """The JSON as it is on the wire, before the SDK makes objects of it."""
    headers = {"Authorization": f"Bearer {sandbox.running.key}"}
    url = f"{sandbox.running.stripe_url}{path}"
    if form:
        answer = await sandbox.http.post(url, headers=headers, data=form)
    else:
        answer = await sandbox.http.get(url, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _live_a_full_life(sandbox: Any, receiver: Any) -> Any:
    await sandbox.listen(receiver)
    subscription = await sandbox.subscribe()
    await sandbox.open_checkout(customer_email="open@example.com")
    item = subscription["items"].data[0]
    await sandbox.v1.subscriptions.update_async(
        subscription.id,
        {
            "items": [{"id": item.id, "price": "price_enterprise_monthly", "quantity": 2}],
            "proration_behavior": "create_prorations",
            "pause_collection": {"behavior": "keep_as_draft", "resumes_at": subscription.created + 86_400},
        },
    )
    failing = await sandbox.subscribe(card="4000 0000 0000 0341")
    await sandbox.v1.subscriptions.update_async(
        failing.id,
        {
            "items": [{"id": failing["items"].data[0].id, "price": "price_enterprise_monthly"}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "pending_if_incomplete",
        },
    )
    metered = await sandbox.open_checkout(line_items=[{"price": "price_api_overage"}])
    await sandbox.pay(metered)
    trial = await sandbox.open_checkout(subscription_data={"trial_period_days": 5})
    await sandbox.pay(trial)
    await sandbox.v1.coupons.create_async({"id": "LAUNCH", "percent_off": 20, "duration": "forever"})
    promotion = {"type": "coupon", "coupon": "LAUNCH"}
    await sandbox.v1.promotion_codes.create_async({"promotion": promotion, "code": "HELLO"})
    taxed = await sandbox.open_checkout(
        customer=(await sandbox.customer()).id,
        discounts=[{"coupon": "LAUNCH"}],
        automatic_tax={"enabled": True},
        tax_id_collection={"enabled": True},
        customer_update={"address": "auto", "name": "auto"},
        billing_address_collection="required",
        line_items=[{"price": "price_pro_monthly", "quantity": 2, "adjustable_quantity": {"enabled": True}}],
    )
    await sandbox.pay(taxed)
    paid = (await sandbox.v1.charges.list_async({"customer": subscription.customer})).data[0]
    refund = await sandbox.v1.refunds.create_async({"charge": paid.id, "amount": 100})
    await sandbox.control(f"refunds/{refund.id}/fail")
    await sandbox.v1.refunds.create_async({"charge": paid.id, "amount": 100})
    dispute = await sandbox.control("disputes", charge=paid.id)
    await sandbox.control(f"disputes/{dispute['id']}", status="under_review")
    await sandbox.v1.disputes.close_async(dispute["id"])
    return subscription


async def test_every_object_on_the_wire_is_one_that_the_sdk_knows(sandbox: Any, receiver: Any) -> None:
    subscription = await _live_a_full_life(sandbox, receiver)
    customer = subscription.customer
    shown = [
        await _raw(sandbox, path)
        for path in (
            "/v1/products",
            "/v1/prices?expand[]=data.product&expand[]=data.tiers",
            "/v1/billing/meters",
            "/v1/test_helpers/test_clocks",
            "/v1/customers?expand[]=data.subscriptions&expand[]=data.invoice_settings.default_payment_method",
            f"/v1/payment_methods?customer={customer}&expand[]=data.customer",
            "/v1/subscriptions?status=all&expand[]=data.latest_invoice&expand[]=data.default_payment_method",
            f"/v1/subscriptions/{subscription.id}?expand[]=customer&expand[]=items.data.price.product",
            "/v1/invoice_payments?expand[]=data.payment.payment_intent.latest_charge&expand[]=data.invoice",
            "/v1/invoices?limit=100&expand[]=data.customer&expand[]=data.parent.subscription_details.subscription",
            "/v1/checkout/sessions?expand[]=data.line_items&expand[]=data.subscription&expand[]=data.invoice",
            "/v1/charges?expand[]=data.customer",
            "/v1/refunds?expand[]=data.charge",
            "/v1/coupons",
            "/v1/promotion_codes",
            "/v1/disputes?expand[]=data.charge",
            "/v1/webhook_endpoints",
            "/v1/account",
            "/v1/billing_portal/configurations",
        )
    ]
    shown.append(await _raw(sandbox, "/v1/billing_portal/sessions", customer=customer))
    for kind in ("payment_method_update", "subscription_cancel", "subscription_update"):
        flow = {"customer": customer, "flow_data[type]": kind}
        if kind != "payment_method_update":
            flow[f"flow_data[{kind}][subscription]"] = subscription.id
        shown.append(await _raw(sandbox, "/v1/billing_portal/sessions", **flow))
    shown.append(await _raw(sandbox, "/v1/invoices/create_preview", subscription=subscription.id))
    endpoint = {"url": receiver.url, "enabled_events[]": "*"}
    shown.append(await _raw(sandbox, "/v1/webhook_endpoints", **endpoint))

    assert [fault for one in shown for fault in faults_of(one)] == []


async def test_every_event_is_one_that_the_sdk_knows(sandbox: Any, receiver: Any) -> None:
    subscription = await _live_a_full_life(sandbox, receiver)
    await sandbox.advance(70 * 86_400)
    await sandbox.v1.customers.delete_async(subscription.customer)
    session = await sandbox.open_checkout()
    await sandbox.v1.checkout.sessions.expire_async(session.id)
    await sandbox.drain()

    found = [fault for event in receiver.events for fault in faults_of(event)]

    assert found == []
    assert len(set(receiver.types)) >= 15


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda one: one.update(current_period_end=1), "subscription.current_period_end: unknown to the SDK"),
        (lambda one: one.pop("status"), "subscription.status: missing"),
        (lambda one: one.update(status="actve"), "subscription.status: 'actve' is not one of"),
        (lambda one: one.update(created="1"), "subscription.created: '1' is not"),
        (lambda one: one["items"]["data"][0].pop("price"), "subscription.items[0].price: missing"),
    ],
    ids=["unknown-field", "missing-field", "unknown-word", "wrong-type", "nested"],
)
async def test_the_schema_check_finds_what_is_wrong(sandbox: Any, change: Any, fault: str) -> None:
    subscription = await sandbox.subscribe()
    shape = await _raw(sandbox, f"/v1/subscriptions/{subscription.id}")
    assert faults_of(shape) == []
    change(shape)
    assert [one for one in faults_of(shape) if one.startswith(fault)]
