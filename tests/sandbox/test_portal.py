from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

FAILS_AT_RENEWAL = "4000 0000 0000 0341"
PAYS = "4242 4242 4242 4242"


async def _portal(sandbox: Any, subscription: Any) -> Any:
    return await sandbox.v1.billing_portal.sessions.create_async(
        {"customer": subscription.customer, "return_url": "http://127.0.0.1/account"}
    )


async def _submit(sandbox: Any, portal: Any, form: str, **fields: str) -> Any:
    return await sandbox.http.post(f"{portal.url}/{form}", data=fields)


async def test_the_portal_shows_the_subscription_and_the_way_back(sandbox: Any) -> None:
    portal = await _portal(sandbox, await sandbox.subscribe())
    page = await sandbox.http.get(portal.url)
    assert page.status_code == 200
    for text in ("Pro", "$29.00 per month", "active", "visa ending in 4242", 'href="http://127.0.0.1/account"'):
        assert text in page.text


@pytest.mark.parametrize("way", ["cancel_at", "cancel_at_period_end"])
async def test_a_cancellation_is_scheduled_in_the_accounts_way_and_can_be_taken_back(sandbox: Any, way: str) -> None:
    await sandbox.control("rules", portal_cancels_by=way)
    subscription = await sandbox.subscribe()
    portal = await _portal(sandbox, subscription)

    assert (await _submit(sandbox, portal, "cancel", subscription=subscription.id)).status_code == 303

    scheduled = await sandbox.subscription(subscription.id)
    assert scheduled.cancel_at == subscription["items"].data[0].current_period_end
    assert scheduled.cancel_at_period_end == (way == "cancel_at_period_end")
    assert "Keep this plan" in (await sandbox.http.get(portal.url)).text

    await _submit(sandbox, portal, "resume", subscription=subscription.id)

    assert (await sandbox.subscription(subscription.id)).cancel_at is None


async def test_a_portal_that_cancels_at_once_says_so_and_does(sandbox: Any) -> None:
    await sandbox.control("rules", portal_cancels_by="immediately")
    subscription = await sandbox.subscribe()
    (configuration,) = (await sandbox.v1.billing_portal.configurations.list_async({})).data
    assert configuration.features.subscription_cancel.mode == "immediately"

    await _submit(sandbox, await _portal(sandbox, subscription), "cancel", subscription=subscription.id)

    assert (await sandbox.subscription(subscription.id)).status == "canceled"


async def test_a_new_card_pays_what_is_open_at_once(sandbox: Any) -> None:
    subscription = await sandbox.subscribe(card=FAILS_AT_RENEWAL)
    await sandbox.advance_to(subscription["items"].data[0].current_period_end + 3_601)
    portal = await _portal(sandbox, subscription)
    assert "is unpaid" in (await sandbox.http.get(portal.url)).text

    answer = await _submit(sandbox, portal, "card", card_number=PAYS)

    assert answer.status_code == 303
    expand = ["latest_invoice", "customer.invoice_settings.default_payment_method"]
    after = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": expand})
    assert (after.status, after.latest_invoice.status) == ("active", "paid")
    assert after.customer.invoice_settings.default_payment_method.card.last4 == "4242"


async def test_a_new_card_is_the_customers_and_takes_the_place_of_the_subscriptions_own(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    assert subscription.default_payment_method is not None
    await _submit(sandbox, await _portal(sandbox, subscription), "card", card_number=PAYS)
    after = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["customer"]})
    assert after.default_payment_method is None
    assert after.customer.invoice_settings.default_payment_method != subscription.default_payment_method


async def test_a_card_that_cannot_pay_what_is_open_says_so_and_is_kept(sandbox: Any) -> None:
    subscription = await sandbox.subscribe(card=FAILS_AT_RENEWAL)
    await sandbox.advance_to(subscription["items"].data[0].current_period_end + 3_601)
    portal = await _portal(sandbox, subscription)
    answer = await _submit(sandbox, portal, "card", card_number=FAILS_AT_RENEWAL)
    assert answer.status_code == 402
    assert "could not be paid" in answer.text
    assert (await sandbox.subscription(subscription.id)).status == "past_due"


async def test_a_refused_card_changes_nothing(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    portal = await _portal(sandbox, subscription)
    answer = await _submit(sandbox, portal, "card", card_number="4000 0000 0000 9995")
    assert answer.status_code == 402
    assert (await sandbox.subscription(subscription.id)).to_dict() == subscription.to_dict()


async def test_a_plan_is_switched_and_the_difference_paid(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    portal = await _portal(sandbox, subscription)
    answer = await _submit(sandbox, portal, "plan", subscription=subscription.id, price="price_enterprise_monthly")
    assert answer.status_code == 303
    after = await sandbox.v1.subscriptions.retrieve_async(subscription.id, {"expand": ["latest_invoice"]})
    assert after["items"].data[0].price.id == "price_enterprise_monthly"
    assert after.latest_invoice.status == "paid"


async def test_a_customer_cannot_touch_anothers_subscription(sandbox: Any) -> None:
    mine, theirs = await sandbox.subscribe(), await sandbox.subscribe()
    portal = await _portal(sandbox, mine)
    answer = await _submit(sandbox, portal, "cancel", subscription=theirs.id)
    assert answer.status_code == 402
    assert (await sandbox.subscription(theirs.id)).cancel_at is None


async def test_a_flow_names_the_subscription_it_is_for(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    portal = await sandbox.v1.billing_portal.sessions.create_async(
        {
            "customer": subscription.customer,
            "flow_data": {
                "type": "subscription_update",
                "subscription_update": {"subscription": subscription.id},
            },
        }
    )
    assert portal.flow.subscription_update.subscription == subscription.id


async def test_an_unknown_portal_session_is_not_found(sandbox: Any) -> None:
    assert (await sandbox.http.get(f"{sandbox.running.stripe_url}/p/session/bps_none")).status_code == 404


async def test_a_portal_that_was_never_set_up_has_no_configuration_and_makes_no_session(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    listed = await sandbox.v1.billing_portal.configurations.list_async({"is_default": True})
    assert [(one.active, one.is_default) for one in listed.data] == [(True, True)]
    await sandbox.control("rules", portal_is_set_up=False)
    assert (await sandbox.v1.billing_portal.configurations.list_async({"is_default": True})).data == []
    with pytest.raises(stripe.InvalidRequestError, match="has not been created"):
        await _portal(sandbox, subscription)


async def _configured(sandbox: Any, *price_ids: str, **features: Any) -> Any:
    sold = [await sandbox.v1.prices.retrieve_async(one) for one in price_ids]
    update = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "products": [{"product": one.product, "prices": [one.id]} for one in sold],
    }
    return await sandbox.v1.billing_portal.configurations.create_async(
        {
            "features": {
                "payment_method_update": {"enabled": True},
                "subscription_update": update,
                "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
                **features,
            },
            "metadata": {"run": "1"},
        }
    )


async def test_a_configuration_of_the_sellers_own_is_beside_the_accounts_default(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    made = await _configured(sandbox, "price_enterprise_monthly")
    assert (made.is_default, made.active, made.metadata.run) == (False, True, "1")
    listed = await sandbox.v1.billing_portal.configurations.list_async({"active": True})
    assert [one.is_default for one in listed.data] == [False, True]
    assert len((await sandbox.v1.billing_portal.configurations.list_async({"is_default": True})).data) == 1
    order = {"customer": subscription.customer, "configuration": made.id}
    assert (await sandbox.v1.billing_portal.sessions.create_async(order)).configuration == made.id
    ended = await sandbox.v1.billing_portal.configurations.update_async(made.id, {"active": False})
    assert not ended.active
    with pytest.raises(stripe.InvalidRequestError, match="not active"):
        await sandbox.v1.billing_portal.sessions.create_async(order)


@pytest.mark.parametrize("kind", ["subscription_cancel", "subscription_update", "payment_method_update"])
async def test_a_flow_needs_the_feature_of_its_configuration(sandbox: Any, kind: str) -> None:
    subscription = await sandbox.subscribe()
    made = await _configured(sandbox, "price_enterprise_monthly", **{kind: {"enabled": False}})
    flow = {"type": kind} | ({} if kind == "payment_method_update" else {kind: {"subscription": subscription.id}})
    with pytest.raises(stripe.InvalidRequestError, match="disabled"):
        await sandbox.v1.billing_portal.sessions.create_async(
            {"customer": subscription.customer, "configuration": made.id, "flow_data": flow}
        )


async def test_a_price_to_be_confirmed_is_one_of_the_configuration(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    made = await _configured(sandbox, "price_enterprise_monthly")
    item = subscription["items"].data[0].id

    async def confirm(price_id: str) -> Any:
        change = {"subscription": subscription.id, "items": [{"id": item, "price": price_id, "quantity": 1}]}
        return await sandbox.v1.billing_portal.sessions.create_async(
            {
                "customer": subscription.customer,
                "configuration": made.id,
                "flow_data": {"type": "subscription_update_confirm", "subscription_update_confirm": change},
            }
        )

    assert (await confirm("price_enterprise_monthly")).flow.type == "subscription_update_confirm"
    with pytest.raises(stripe.InvalidRequestError, match="configuration"):
        await confirm("price_pro_yearly")
