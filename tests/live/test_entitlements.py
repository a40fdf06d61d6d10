"""Features that Stripe entitles to, by the product that is bought."""

from __future__ import annotations

import pytest

from gateway.sync import PlanChanges

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_a_feature_of_the_product_is_had_with_the_plan_and_goes_with_it(life):
    await life.subscribe()
    feature = life.account.names.feature
    await life.until(lambda found: found.entitlements == (feature,))
    assert feature in (await life.access()).tier.features
    assert await life.billing.facts.fetch_entitlements(life.cus) == (feature,)
    changes = PlanChanges(sync=life.sync, clock=life.clock)
    await changes.apply(life.customer_id, "enterprise-monthly", actor="test")
    await life.until(lambda found: found.entitlements == ())
    access = await life.access()
    assert (access.tier.name, feature in access.tier.features) == ("enterprise", False)


async def test_who_does_not_pay_any_more_is_entitled_to_nothing(life):
    subscription_id = await life.subscribe()
    feature = life.account.names.feature
    await life.until(lambda found: found.entitlements == (feature,))
    await life.stripe.v1.subscriptions.cancel_async(subscription_id)
    await life.until(lambda found: found.status == "canceled")
    life.clock.at += 60  # the sandbox's time goes on meanwhile
    assert feature not in (await life.access()).tier.features

    async def ended():
        return not await life.billing.facts.fetch_entitlements(life.cus)

    assert await life.eventually(ended)
