"""Buyers whom nobody knows yet are looked for at Stripe, which answers so many searches a second: all get a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from gateway.billing import SEARCH, CheckoutLink, StripeOptions
from gateway.core.errors import BillingUnavailable
from tests.billing.conftest import StandIn, opened, through
from tests.billing.test_second_subscription import checkouts_of

pytestmark = pytest.mark.slow

BUYERS = 60


@pytest.fixture
async def limited(shop: Any) -> AsyncIterator[Any]:
    """A shop whose Stripe answers as many searches as the real one."""
    await shop.sandbox.control("rules", searches_per_s=20)
    yield shop
    await shop.sandbox.control("rules", searches_per_s=0, has_search=True)


def patient(shop: Any) -> StripeOptions:
    """Who is counted here has a machine that may be slower than any buyer's patience."""
    return StripeOptions(secret_key=shop.sandbox.key, base_url=shop.sandbox.url, search_patience_s=120)


async def unknown(shop: Any) -> str:
    customer_id = uuid4().hex[:12]
    await shop.ledger.create_customer(customer_id=customer_id, user_id=f"user-{customer_id}", now=1, actor="test")
    return customer_id


async def test_sixty_new_buyers_at_once_all_get_their_page(limited: Any) -> None:
    buyers = [await unknown(limited) for _ in range(BUYERS)]
    async with opened(patient(limited)) as billing:
        limited.billing = limited.sync.billing = billing
        checkouts = checkouts_of(limited)
        links = await asyncio.gather(*(checkouts.for_customer(one, "pro-monthly") for one in buyers))
    assert len({link.url for link in links}) == BUYERS
    assert len({(await limited.ledger.find_customer(one)).stripe_customer_id for one in buyers}) == BUYERS


async def test_several_workers_that_know_nothing_of_each_other_come_within_what_stripe_takes(limited: Any) -> None:
    buyers = [await unknown(limited) for _ in range(BUYERS)]
    async with opened(patient(limited)) as one, opened(patient(limited)) as other:
        found = await asyncio.gather(
            *(
                (one if number % 2 else other).customers.find_labelled(buyer, f"user-{buyer}")
                for number, buyer in enumerate(buyers)
            )
        )
    assert found == [[]] * BUYERS


async def test_whoever_would_wait_longer_than_a_buyer_does_is_told_to_come_back(limited: Any) -> None:
    await limited.sandbox.control("rules", searches_per_s=1)
    asked = (limited.billing.customers.find_labelled(f"nobody{number}", "nobody") for number in range(4 * BUYERS))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    told = [one for one in answers if isinstance(one, BillingUnavailable)]
    assert told
    assert [one for one in answers if one != [] and one not in told] == []


async def test_where_stripe_has_no_search_a_buyer_gets_its_page_all_the_same(limited: Any) -> None:
    await limited.sandbox.control("rules", has_search=False)
    buyer = await unknown(limited)
    link = await checkouts_of(limited).for_customer(buyer, "pro-monthly")
    assert isinstance(link, CheckoutLink)


async def test_the_doctor_hears_that_there_is_no_search_and_needs_it_for_nothing_else(limited: Any) -> None:
    assert SEARCH not in (await limited.billing.describe()).refused
    await limited.sandbox.control("rules", has_search=False)
    report = await limited.billing.describe()
    assert list(report.refused) == [SEARCH]


async def test_who_is_known_waits_for_no_search(limited: Any) -> None:
    customer_id = await limited.new_customer()
    between = StandIn()
    between.account_id, between.handler = None, through(limited.sandbox.url)
    async with (
        between.listening(),
        opened(StripeOptions(secret_key=limited.sandbox.key, base_url=between.url)) as billing,
    ):
        limited.billing = limited.sync.billing = billing
        await checkouts_of(limited).for_customer(customer_id, "pro-monthly")
    assert [one.path for one in between.requests if "search" in one.path] == []
