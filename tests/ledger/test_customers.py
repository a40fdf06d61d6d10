from __future__ import annotations

import asyncio

import pytest

from gateway.ledger import CustomerExists, CustomerUnknown, UserExists


async def test_a_new_customer_is_version_1_and_unpublished(ledger):
    row = await ledger.create_customer(customer_id="c1", user_id="u1", now=7, actor="operator")
    assert (row.version, row.published_version, row.created_at, row.blocked) == (1, 0, 7, False)
    assert await ledger.find_customer("c1") == row
    assert await ledger.find_customer_by_user("u1") == row
    assert await ledger.unpublished(10) == ["c1"]


async def test_a_user_is_a_customer_once(ledger):
    await ledger.create_customer(customer_id="c1", user_id="u1", now=1, actor="operator")
    with pytest.raises(UserExists) as caught:
        await ledger.create_customer(customer_id="c2", user_id="u1", now=1, actor="operator")
    assert caught.value.user_id == "u1"
    assert await ledger.find_customer("c2") is None


async def test_of_many_who_create_the_same_user_at_once_one_succeeds(ledger, ledger_url, open_ledger):
    ledgers = [ledger, await open_ledger(ledger_url), await open_ledger(ledger_url)]
    results = await asyncio.gather(
        *(
            ledgers[i % 3].create_customer(customer_id=f"c{i}", user_id="u1", now=1, actor="operator")
            for i in range(12)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(result, UserExists) for result in results) == 11
    assert len(await ledger.list_customers()) == 1


async def test_a_taken_customer_id_or_stripe_customer_is_told_from_a_taken_user(ledger):
    await ledger.create_customer(customer_id="c1", user_id="u1", now=1, actor="operator", stripe_customer_id="cus_1")
    with pytest.raises(CustomerExists):
        await ledger.create_customer(customer_id="c1", user_id="u2", now=1, actor="operator")
    with pytest.raises(CustomerExists):
        await ledger.create_customer(
            customer_id="c2", user_id="u2", now=1, actor="operator", stripe_customer_id="cus_1"
        )


@pytest.mark.parametrize("user_id", ["", "a\x00b", "\ud800"], ids=["empty", "nul", "surrogate"])
async def test_a_user_id_that_cannot_be_stored_is_refused(ledger, user_id):
    with pytest.raises(ValueError, match="user id"):
        await ledger.create_customer(customer_id="c1", user_id=user_id, now=1, actor="operator")
    assert await ledger.find_customer_by_user(user_id) is None


async def test_customers_are_listed_page_by_page_in_byte_order(ledger):
    ids = ["B", "Z", "a", "b-1", "b1", "z"]
    for customer_id in reversed(ids):
        await ledger.create_customer(customer_id=customer_id, user_id=f"user {customer_id}", now=1, actor="operator")
    seen, after = [], ""
    while page := await ledger.list_customers(after=after, limit=2):
        seen += [row.customer_id for row in page]
        after = seen[-1]
    assert seen == ids


async def test_the_first_stripe_customer_stays(ledger, customer):
    assert await ledger.bind_stripe_customer(customer, "cus_1") == "cus_1"
    assert await ledger.bind_stripe_customer(customer, "cus_2") == "cus_1"
    assert await ledger.bind_stripe_customer(customer, "cus_2", instead_of="cus_0") == "cus_1"
    assert await ledger.bind_stripe_customer(customer, "cus_2", instead_of="cus_1") == "cus_2"
    row = await ledger.find_customer_by_stripe("cus_2")
    assert row.customer_id == customer
    assert row.version == 1
    assert await ledger.find_customer_by_stripe("cus_1") is None


async def test_of_many_bindings_at_once_all_learn_the_same_winner(ledger, customer, ledger_url, open_ledger):
    ledgers = [ledger, await open_ledger(ledger_url)]
    answers = await asyncio.gather(*(ledgers[i % 2].bind_stripe_customer(customer, f"cus_{i}") for i in range(10)))
    assert len(set(answers)) == 1


async def test_a_stripe_customer_belongs_to_one_customer(ledger, new_customer):
    await new_customer(ledger, stripe_customer_id="cus_1")
    with pytest.raises(CustomerExists):
        await ledger.bind_stripe_customer(await new_customer(ledger), "cus_1")


async def test_nothing_is_bound_to_an_unknown_customer(ledger):
    with pytest.raises(CustomerUnknown):
        await ledger.bind_stripe_customer("nobody", "cus_1")
    with pytest.raises(CustomerUnknown):
        await ledger.set_blocked("nobody", blocked=True, now=1, actor="operator", because="x")
    with pytest.raises(CustomerUnknown):
        await ledger.take_fence("nobody")


async def test_blocking_twice_changes_once(ledger, customer):
    assert await ledger.set_blocked(customer, blocked=True, now=5, actor="operator", because="abuse")
    assert not await ledger.set_blocked(customer, blocked=True, now=6, actor="operator", because="abuse")
    row = await ledger.find_customer(customer)
    assert (row.blocked, row.version) == (True, 2)
    assert [entry.action for entry in await ledger.list_audit(customer)] == [
        "customer-blocked",
        "customer-created",
    ]


async def test_customers_are_found_whose_account_is_newer_than_what_somebody_has(ledger):
    for customer_id in ("c7", "c8", "c1077"):
        await ledger.create_customer(customer_id=customer_id, user_id=customer_id, now=1, actor="test")
    for customer_id in ("c7", "c1077"):
        await ledger.set_blocked(customer_id, blocked=True, now=2, actor="test", because="test")
    assert sorted(await ledger.find_newer({f"c{n}": 1 for n in range(1200)})) == ["c1077", "c7"]
    assert await ledger.find_newer({"c7": 2, "nobody": 0}) == []
    assert await ledger.find_newer({}) == []


async def test_a_published_customer_is_unpublished_again_after_a_change(ledger, customer):
    await ledger.mark_published(customer, 1)
    assert await ledger.unpublished(10) == []
    await ledger.set_blocked(customer, blocked=True, now=5, actor="operator", because="abuse")
    assert await ledger.unpublished(10) == [customer]


async def test_a_late_publisher_does_not_take_back_what_a_later_one_published(ledger, customer):
    await ledger.set_blocked(customer, blocked=True, now=5, actor="operator", because="abuse")
    await ledger.mark_published(customer, 2)
    await ledger.mark_published(customer, 1)
    assert (await ledger.find_customer(customer)).published_version == 2


async def test_a_version_that_never_was_cannot_be_published(ledger, customer):
    await ledger.mark_published(customer, 99)
    assert (await ledger.find_customer(customer)).published_version == 0
