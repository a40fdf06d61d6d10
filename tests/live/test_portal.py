"""Links into Stripe's portal, each act of it, under a configuration that sells what this run sells."""

from __future__ import annotations

import pytest

from gateway.sync import NoSubscription, PortalCannotChange, SubscriptionEnding
from tests.live.catalog import EXPORTS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    ("flow", "plan_id"),
    [
        (None, None),
        ("payment_method_update", None),
        ("subscription_cancel", None),
        ("subscription_update", None),
        ("subscription_update_confirm", "enterprise-monthly"),
    ],
)
async def test_the_portal_opens_at_each_act_that_it_is_linked_to(life, flow, plan_id):
    await life.subscribe()
    address = await life.checkouts.open_portal(life.customer_id, flow, plan_id=plan_id)
    assert address.startswith("http")


async def test_who_is_deleted_has_no_portal(life):
    await life.new_customer(on_clock=False)
    await life.stripe.v1.customers.delete_async(life.cus)
    life.made.discard(life.cus)
    with pytest.raises(NoSubscription):
        await life.checkouts.open_portal(life.customer_id)


async def test_what_the_portal_could_not_do_is_not_linked_to(life):
    subscription_id = await life.subscribe("team-monthly", EXPORTS)
    with pytest.raises(PortalCannotChange):
        await life.checkouts.open_portal(life.customer_id, "subscription_update")
    await life.stripe.v1.subscriptions.update_async(subscription_id, {"cancel_at_period_end": True})
    with pytest.raises(SubscriptionEnding):
        await life.checkouts.open_portal(life.customer_id, "subscription_cancel")
