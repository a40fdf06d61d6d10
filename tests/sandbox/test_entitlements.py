"""Features of products, and who is entitled to them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

pytestmark = pytest.mark.slow

SUMMARY = "entitlements.active_entitlement_summary.updated"


async def feature(sandbox: Any, lookup_key: str) -> Any:
    made = await sandbox.v1.entitlements.features.create_async({"name": lookup_key, "lookup_key": lookup_key})
    attached = await sandbox.v1.products.features.create_async("prod_pro", {"entitlement_feature": made.id})
    assert attached.entitlement_feature.lookup_key == lookup_key
    return attached


async def keys(sandbox: Any, customer_id: str, limit: int = 100) -> list[str]:
    page = await sandbox.v1.entitlements.active_entitlements.list_async({"customer": customer_id, "limit": limit})
    return sorted([one.lookup_key async for one in page.auto_paging_iter()])


async def summaries(sandbox: Any) -> list[list[str]]:
    found = await sandbox.events(type=SUMMARY)
    return [[one.lookup_key for one in event.data.object.entitlements.data] for event in found]


async def test_a_subscriber_is_entitled_while_it_is_subscribed(sandbox: Any) -> None:
    await feature(sandbox, "exports")
    subscription = await sandbox.subscribe()
    assert await keys(sandbox, subscription.customer) == ["exports"]
    await sandbox.v1.subscriptions.cancel_async(subscription.id)
    assert await keys(sandbox, subscription.customer) == []
    assert await summaries(sandbox) == [["exports"], []]


async def test_a_feature_given_to_a_product_later_is_told_of_and_taken_away_again(sandbox: Any) -> None:
    subscription = await sandbox.subscribe()
    attached = await feature(sandbox, "exports")
    assert await keys(sandbox, subscription.customer) == ["exports"]
    await sandbox.v1.products.features.delete_async("prod_pro", attached.id)
    assert await keys(sandbox, subscription.customer) == []
    assert await summaries(sandbox) == [["exports"], []]
    assert (await sandbox.v1.products.features.list_async("prod_pro")).data == []


async def test_entitlements_are_paged_and_a_summary_shows_the_first(sandbox: Any) -> None:
    names = [f"feature_{number:02d}" for number in range(12)]
    for name in names:
        await feature(sandbox, name)
    subscription = await sandbox.subscribe()
    assert await keys(sandbox, subscription.customer, limit=5) == names
    [event] = await sandbox.events(type=SUMMARY)
    assert (len(event.data.object.entitlements.data), event.data.object.entitlements.has_more) == (10, True)


async def test_a_feature_is_named_once_attached_once_and_not_when_it_is_archived(sandbox: Any) -> None:
    made = (await feature(sandbox, "exports")).entitlement_feature
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.entitlements.features.create_async({"name": "again", "lookup_key": "exports"})
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.products.features.create_async("prod_pro", {"entitlement_feature": made.id})
    await sandbox.v1.entitlements.features.update_async(made.id, {"active": False, "name": "Exports"})
    with pytest.raises(stripe.InvalidRequestError):
        await sandbox.v1.products.features.create_async("prod_enterprise", {"entitlement_feature": made.id})
    assert (await sandbox.v1.entitlements.features.list_async({"lookup_key": "exports"})).data == []
    archived = (await sandbox.v1.entitlements.features.list_async({"archived": True})).data
    assert [(one.id, one.name) for one in archived] == [(made.id, "Exports")]
    assert (await sandbox.v1.entitlements.features.retrieve_async(made.id)).active is False
