from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.core.account import KeyRecord
from gateway.core.limits import Concurrency, Quota, Rate
from gateway.ledger import CheckoutClaimed, CustomerUnknown, KeyEnded, KeyExists, KeysFull, NewKey
from gateway.ledger.keys import EXPIRED_KEYS_LEAVE_AFTER_S
from gateway.ledger.limit_json import dump_limits, load_limits

LIMITS = (
    Rate(name="second", meter="requests", units=5, window_ms=1000, burst=5),
    Quota(name="tokens-period", meter="tokens", units=10**12, window_s=None),
    Quota(name="day", meter="requests", units=0, window_s=86_400),
    Quota(name="renders-day", meter="requests", units=7, window_s=86_400, group="renders"),
    Concurrency(name="concurrent", units=3),
)
whole = st.integers(0, 2**62)
groups = st.none() | st.text()
limits = (
    st.builds(Rate, name=st.text(), meter=st.text(), units=whole, window_ms=whole, burst=whole, group=groups)
    | st.builds(Quota, name=st.text(), meter=st.text(), units=whole, window_s=st.none() | whole, group=groups)
    | st.builds(Concurrency, name=st.text(), units=whole, group=groups)
)


@given(st.lists(limits))
def test_limits_survive_the_way_through_json(several):
    assert load_limits(dump_limits(several)) == tuple(several)


async def test_a_key_comes_back_as_it_was_stored(ledger, customer):
    record = KeyRecord(
        key_id="k1",
        name="Zoë's laptop",
        last4="Qx7z",
        created_at=10,
        expires_at=99,
        scopes=("GET /v1/**", "POST /v1/{id}"),
        limits=LIMITS,
        allow=("203.0.113.7", "2001:db8::/32"),
    )
    texts = ("5 requests/second", "1000000000000 tokens/period", "0 requests/day")
    key = NewKey(record=record, digest="d" * 64, mode="live", limit_texts=texts)
    await ledger.add_key(customer, key, now=10, actor="customer")
    [row] = await ledger.list_keys(customer)
    assert row.record == record
    assert (row.digest, row.mode, row.limit_texts) == ("d" * 64, "live", texts)
    assert (row.revoked_at, row.last_used_at) == (None, None)
    assert (await ledger.load_account(customer)).keys == {"d" * 64: record}


async def test_keys_are_listed_in_pages_that_miss_none_and_show_none_twice(ledger, customer, new_key):
    made = [(await new_key(ledger, customer)).key_id for _ in range(7)]
    for key_id in made[::2]:
        await ledger.revoke_key(customer, key_id, now=50, actor="customer", because="over")
    for include_revoked, wanted in ((True, made), (False, made[1::2])):
        found, after = [], None
        while page := await ledger.list_keys(customer, include_revoked=include_revoked, after=after, limit=2):
            assert len(page) <= 2
            found += [row.record.key_id for row in page]
            after = (page[-1].record.created_at, page[-1].record.key_id)
        assert sorted(found) == sorted(wanted)


async def test_a_key_of_nobody_is_refused(ledger, new_key):
    with pytest.raises(CustomerUnknown):
        await new_key(ledger, "nobody")


async def test_a_repeated_key_is_refused_and_changes_nothing(ledger, customer, new_key):
    record = await new_key(ledger, customer)
    with pytest.raises(KeyExists):
        await ledger.add_key(customer, NewKey(record=record, digest="other", mode="test"), now=1, actor="customer")
    assert (await ledger.find_customer(customer)).version == 2
    assert len(await ledger.list_audit(customer)) == 2


async def test_a_revoked_key_leaves_the_account_at_once_and_the_list_on_request(ledger, customer, new_key):
    kept, gone = await new_key(ledger, customer), await new_key(ledger, customer)
    assert await ledger.revoke_key(customer, gone.key_id, now=50, actor="customer", because="leaked")
    account = await ledger.load_account(customer)
    assert [record.key_id for record in account.keys.values()] == [kept.key_id]
    assert [row.record.key_id for row in await ledger.list_keys(customer)] == [kept.key_id]
    revoked = {row.record.key_id: row.revoked_at for row in await ledger.list_keys(customer, include_revoked=True)}
    assert revoked == {kept.key_id: None, gone.key_id: 50}


async def test_a_key_is_revoked_once(ledger, customer, new_key):
    key = await new_key(ledger, customer)
    answers = await asyncio.gather(
        *(ledger.revoke_key(customer, key.key_id, now=5, actor="customer", because="x") for _ in range(5))
    )
    assert sorted(answers) == [False] * 4 + [True]
    assert (await ledger.find_customer(customer)).version == 3


async def test_a_customer_cannot_revoke_the_key_of_another(ledger, customer, new_customer, new_key):
    key = await new_key(ledger, customer)
    other = await new_customer(ledger)
    assert not await ledger.revoke_key(other, key.key_id, now=5, actor="customer", because="x")
    assert len((await ledger.load_account(customer)).keys) == 1


async def test_a_replaced_key_stays_until_its_overlap_ends(ledger, customer, new_key, unrecorded_key):
    key = await new_key(ledger, customer)
    await ledger.replace_key(customer, key.key_id, unrecorded_key("k2"), ends_at=500, now=100, actor="customer")
    account = await ledger.load_account(customer)
    ends = {record.key_id: record.expires_at for record in account.keys.values()}
    assert ends == {key.key_id: 500, "k2": None}
    assert account.version == 3


async def test_a_replaced_key_without_overlap_leaves_at_once(ledger, customer, new_key, unrecorded_key):
    key = await new_key(ledger, customer)
    await ledger.replace_key(customer, key.key_id, unrecorded_key("k2"), ends_at=100, now=100, actor="customer")
    assert [record.key_id for record in (await ledger.load_account(customer)).keys.values()] == ["k2"]


async def test_being_replaced_never_lengthens_a_life(ledger, customer, new_key, unrecorded_key):
    key = await new_key(ledger, customer, expires_at=300)
    await ledger.replace_key(customer, key.key_id, unrecorded_key("k2"), ends_at=500, now=100, actor="customer")
    ends = {row.record.key_id: row.record.expires_at for row in await ledger.list_keys(customer)}
    assert ends == {key.key_id: 300, "k2": None}


async def test_of_many_replacements_at_once_one_is_made(
    ledger, customer, new_key, unrecorded_key, ledger_url, open_ledger
):
    other, key = await open_ledger(ledger_url), await new_key(ledger, customer)
    answers = await asyncio.gather(
        *(
            (ledger, other)[i % 2].replace_key(
                customer, key.key_id, unrecorded_key(f"k{i}"), ends_at=5, now=5, actor="customer"
            )
            for i in range(8)
        ),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers if answer is not None] == [KeyEnded] * 7
    assert [row.record.key_id for row in await ledger.list_keys(customer)] == [f"k{answers.index(None)}"]


async def test_a_replacement_that_cannot_be_changes_nothing(ledger, customer, new_customer, new_key, unrecorded_key):
    key, revoked = await new_key(ledger, customer), await new_key(ledger, customer)
    expired = await new_key(ledger, customer, expires_at=1_100)
    await ledger.revoke_key(customer, revoked.key_id, now=1_000, actor="customer", because="x")
    other, replaced = await new_customer(ledger), await new_key(ledger, customer)
    when = {"ends_at": 1_200, "now": 1_100, "actor": "customer"}
    await ledger.replace_key(customer, replaced.key_id, unrecorded_key("k9"), **when)
    assert {row.record.key_id: row.replaced_by for row in await ledger.list_keys(customer)}[replaced.key_id] == "k9"
    before = await ledger.load_account(customer), await ledger.list_audit()
    for whose, which in ((customer, revoked), (customer, expired), (customer, replaced), (other, key)):
        with pytest.raises(KeyEnded):
            await ledger.replace_key(whose, which.key_id, unrecorded_key(), **when)
    with pytest.raises(KeyExists):
        await ledger.replace_key(customer, key.key_id, unrecorded_key(key.key_id), **when)
    assert (await ledger.load_account(customer), await ledger.list_audit()) == before


async def test_a_checkout_shows_the_successor_of_what_it_showed_and_of_nothing_else(
    ledger, customer, new_key, unrecorded_key
):
    await ledger.add_checkout(session_id="cs_1", customer_id=customer, plan_id="pro", claim_digest="d", now=1)
    await ledger.add_key(customer, unrecorded_key("k1"), now=2, actor="customer", checkout="cs_1")
    other = await new_key(ledger, customer)
    when = {"ends_at": 3, "now": 3, "actor": "customer", "checkout": "cs_1"}
    with pytest.raises(KeyEnded):
        await ledger.replace_key(customer, other.key_id, unrecorded_key(), **when)
    await ledger.replace_key(customer, "k1", unrecorded_key("k2"), **when)
    assert (await ledger.find_checkout("cs_1")).key_id == "k2"
    assert {row.record.key_id for row in await ledger.list_keys(customer)} == {other.key_id, "k2"}


async def test_long_expired_keys_leave_the_account_when_the_next_one_is_issued(ledger, customer, new_key):
    await new_key(ledger, customer, expires_at=2_000)
    recent = await new_key(ledger, customer, expires_at=2_001)
    new = await new_key(ledger, customer, now=2_001 + EXPIRED_KEYS_LEAVE_AFTER_S)
    account = await ledger.load_account(customer)
    assert {record.key_id for record in account.keys.values()} == {recent.key_id, new.key_id}


async def test_keys_that_last_a_second_never_make_an_account_of_more_than_there_is_room_for(
    ledger, customer, unrecorded_key
):
    async def issue(now):
        await ledger.add_key(customer, unrecorded_key(expires_at=now + 1), now=now, actor="a", most=5)

    refused = 0
    for now in range(1_000, 2_500, 15):
        try:
            await issue(now)
        except KeysFull:
            refused += 1
        assert len((await ledger.load_account(customer)).keys) <= 5
    assert refused > 50, "it was tried 100 times"
    await issue(2_500 + EXPIRED_KEYS_LEAVE_AFTER_S)
    assert len((await ledger.load_account(customer)).keys) == 1, "nobody is held up for longer than that"


async def test_revoking_a_key_lets_expired_ones_leave(ledger, customer, new_key):
    live = await new_key(ledger, customer)
    await new_key(ledger, customer, expires_at=2_000)
    await ledger.revoke_key(customer, live.key_id, now=2_001 + EXPIRED_KEYS_LEAVE_AFTER_S, actor="a", because="b")
    assert (await ledger.load_account(customer)).keys == {}


async def test_the_last_use_only_moves_forward_and_is_no_change_of_the_account(ledger, customer, new_key):
    key, idle = await new_key(ledger, customer), await new_key(ledger, customer)
    version = (await ledger.find_customer(customer)).version
    await ledger.touch_keys({})
    await ledger.touch_keys({key.key_id: 70, "unknown": 1})
    await ledger.touch_keys({key.key_id: 60})
    used = {row.record.key_id: row.last_used_at for row in await ledger.list_keys(customer)}
    assert used == {key.key_id: 70, idle.key_id: None}
    assert (await ledger.find_customer(customer)).version == version


async def test_keys_are_touched_in_one_order_so_that_two_workers_never_deadlock(
    ledger, customer, new_key, ledger_url, open_ledger
):
    other = await open_ledger(ledger_url)
    first, second = sorted([(await new_key(ledger, customer)).key_id for _ in range(2)])
    touch = text("UPDATE api_keys SET last_used_at = 5 WHERE key_id = :key_id")
    async with ledger._database.writing() as connection:
        await connection.execute(touch, {"key_id": first})
        touching = asyncio.create_task(other.touch_keys({second: 9, first: 9}))
        await asyncio.sleep(0.2)
        await connection.execute(touch, {"key_id": second})
    await touching
    assert {row.last_used_at for row in await ledger.list_keys(customer)} == {9}


async def test_a_first_key_and_the_claim_of_its_checkout_are_one(ledger, customer, new_customer, unrecorded_key):
    await ledger.add_checkout(session_id="cs_1", customer_id=customer, plan_id="pro", claim_digest="d", now=1)

    async def first_key(owner: str, key_id: str) -> None:
        await ledger.add_key(owner, unrecorded_key(key_id), now=2, actor="customer", checkout="cs_1")

    with pytest.raises(CheckoutClaimed):
        await first_key(await new_customer(ledger), "k0")
    await first_key(customer, "k1")
    with pytest.raises(CheckoutClaimed):
        await first_key(customer, "k2")
    assert [row.record.key_id for row in await ledger.list_keys(customer)] == ["k1"]
    assert (await ledger.find_checkout("cs_1")).key_id == "k1"
    assert (await ledger.find_customer(customer)).version == 2


async def test_of_many_keys_added_at_once_no_more_are_added_than_there_is_room_for(
    ledger, customer, new_key, unrecorded_key, ledger_url, open_ledger
):
    other = await open_ledger(ledger_url)
    await new_key(ledger, customer, expires_at=1_500)
    live = await new_key(ledger, customer)
    before = await ledger.load_account(customer)
    answers = await asyncio.gather(
        *((ledger, other)[i % 2].add_key(customer, unrecorded_key(), now=1_500, actor="a", most=4) for i in range(8)),
        return_exceptions=True,
    )
    assert [type(answer) for answer in answers if answer is not None] == [KeysFull] * 6, "the expired one has a place"
    assert (await ledger.load_account(customer)).version == before.version + 2
    when = {"now": 1_500, "actor": "a", "most": 4}
    with pytest.raises(KeysFull):
        await ledger.replace_key(customer, live.key_id, unrecorded_key(), ends_at=1_501, **when)
    await ledger.replace_key(customer, live.key_id, unrecorded_key(), ends_at=1_500, **when)


async def test_a_first_key_for_which_there_is_no_room_leaves_its_checkout_unclaimed(
    ledger, customer, new_key, unrecorded_key
):
    await ledger.add_checkout(session_id="cs_1", customer_id=customer, plan_id="pro", claim_digest="d", now=1)
    await new_key(ledger, customer)
    with pytest.raises(KeysFull):
        await ledger.add_key(customer, unrecorded_key(), now=2, actor="customer", checkout="cs_1", most=1)
    assert (await ledger.find_checkout("cs_1")).claimed_at is None
