"""Whoever is suspended can pay no checkout page that was opened before: it would pay for nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.billing import Billing, CheckoutLink, StripeOptions
from gateway.blocking import Blocking
from gateway.core.errors import AccountSuspended
from gateway.core.keys import KeyCodec
from gateway.core.lifecycle import BLOCKED, DISPUTED
from gateway.core.policy import Standing
from gateway.provisioning import Provisioning
from tests.billing.test_nothing_more import REFUSED, dispute
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow

FALLS = Standing(keep_s=0, then="free", refusal="account-suspended")
WARNS = Standing(keep_s=None, then=None, refusal="account-suspended")


class Unpublished:
    """Nobody serves here."""

    async def publish_soon(self, _customer_id: str) -> bool:
        return True


def blocking_of(shop: Any, billing: Billing | None = None) -> Blocking:
    publisher: Any = Unpublished()
    codec = KeyCodec(b"a pepper of sixteen bytes or more", "test")
    provisioning = Provisioning(shop.ledger, publisher, codec, shop.sandbox.clock)
    return Blocking(ledger=shop.ledger, provisioning=provisioning, billing=billing or shop.billing)


def set_rule(shop: Any, row: str, rule: Standing) -> None:
    held = shop.sync._policy
    held.current = replace(held.current, lifecycle=held.current.lifecycle | {row: rule})


async def is_open(shop: Any, link: CheckoutLink) -> bool:
    return (await shop.billing.fetch_checkout(link.session_id)).status == "open"


async def block(shop: Any, customer_id: str, billing: Billing | None = None) -> Any:
    return await blocking_of(shop, billing).block(customer_id, shop.sync.policy, actor="seller", because="abuse")


@pytest.mark.parametrize("rule", [REFUSED, FALLS], ids=["refused", "fallen"])
async def test_a_block_closes_the_pages_that_are_open(shop: Any, rule: Standing) -> None:
    customer_id = await shop.new_customer()
    set_rule(shop, BLOCKED, rule)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert (await block(shop, customer_id)).pages_closed == 1
    assert not await is_open(shop, link)
    with pytest.raises(AccountSuspended):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    await blocking_of(shop).unblock(customer_id, shop.sync.policy, actor="seller", because="a mistake")
    assert await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def sellers_own_page(shop: Any, customer_id: str) -> CheckoutLink:
    """One that the seller made by itself, for something that no plan sells."""
    row, v1 = await shop.ledger.find_customer(customer_id), shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Support"})
    amount = {"currency": "usd", "unit_amount": 50_000, "recurring": {"interval": "month"}}
    price = await v1.prices.create_async({"product": product.id, **amount})
    made = await v1.checkout.sessions.create_async(
        {
            "mode": "subscription",
            "customer": row.stripe_customer_id,
            "line_items": [{"price": price.id, "quantity": 1}],
            "success_url": "http://localhost/thanks",
        }
    )
    return CheckoutLink(url=made.url, session_id=made.id, created_at=made.created, expires_at=made.expires_at)


async def test_a_page_that_the_seller_made_by_itself_stays_open(shop: Any) -> None:
    customer_id = await shop.new_customer()
    theirs = await sellers_own_page(shop, customer_id)
    ours = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert await is_open(shop, theirs), "beginning another page closes those of this gateway"
    assert (await block(shop, customer_id)).pages_closed == 1
    await shop.sync.sync_customer(customer_id, "test")
    assert (await is_open(shop, theirs), await is_open(shop, ours)) == (True, False)


async def test_a_block_that_only_warns_closes_none_and_sells_on(shop: Any) -> None:
    customer_id = await shop.new_customer()
    set_rule(shop, BLOCKED, WARNS)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert (await block(shop, customer_id)).pages_closed == 0
    assert await is_open(shop, link)
    assert await checkouts_of(shop).for_customer(customer_id, "enterprise-monthly")


async def test_who_never_came_near_stripe_is_blocked_without_it(shop: Any) -> None:
    now = int(shop.sandbox.clock.now())
    await shop.ledger.create_customer(customer_id="never0000000", user_id="never", now=now, actor="test")
    assert (await block(shop, "never0000000")).pages_closed == 0


async def test_a_block_holds_while_stripe_is_away_and_the_next_read_closes_the_page(shop: Any) -> None:
    customer_id = await shop.new_customer()
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    away = Billing(StripeOptions(secret_key=shop.sandbox.key, base_url="http://127.0.0.1:9"))
    try:
        assert (await block(shop, customer_id, away)).pages_closed is None
    finally:
        await away.aclose()
    assert (await shop.ledger.find_customer(customer_id)).blocked
    assert await is_open(shop, link)
    await shop.sync.sync_customer(customer_id, "test")
    assert not await is_open(shop, link)


async def test_a_page_that_is_made_while_its_customer_is_blocked_is_closed(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await shop.new_customer()
    pages: list[CheckoutLink] = []
    make = shop.billing.create_checkout

    async def make_slowly(*args: Any) -> CheckoutLink:
        await block(shop, customer_id)
        pages.append(await make(*args))
        return pages[0]

    monkeypatch.setattr(shop.billing, "create_checkout", make_slowly)
    with pytest.raises(AccountSuspended):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    assert not await is_open(shop, pages[0])


async def cancelled(shop: Any) -> str:
    """A customer who paid once and has nothing that runs."""
    customer_id: str = await shop.buyer("pro-monthly")
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    return customer_id


@pytest.mark.parametrize("rule", [REFUSED, FALLS], ids=["refused", "fallen"])
async def test_a_dispute_that_suspends_closes_the_pages_that_are_open(shop: Any, rule: Standing) -> None:
    customer_id = await cancelled(shop)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    await dispute(shop, customer_id, rule)
    assert not await is_open(shop, link)
    with pytest.raises(AccountSuspended):
        await checkouts_of(shop).for_customer(customer_id, "pro-monthly")


async def test_a_dispute_that_policy_only_flags_closes_none(shop: Any) -> None:
    customer_id = await cancelled(shop)
    link = await checkouts_of(shop).for_customer(customer_id, "pro-monthly")
    await dispute(shop, customer_id, WARNS)
    assert DISPUTED in dict((await shop.load(customer_id)).flags)
    assert await is_open(shop, link)
