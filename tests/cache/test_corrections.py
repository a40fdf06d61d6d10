"""Where a charge is corrected after it was counted: in its own window, and in nothing that may not have counted it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from redis.asyncio import Redis

from gateway.cache import (
    Cache,
    Receipt,
    prepare_draw,
    prepare_lease_end,
    prepare_once_refund,
    prepare_settlement,
)
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRequest, QuotaClaim
from gateway.core.lease import Draw
from gateway.core.once import OnceCall, OnceTerms
from tests.cache.ends import refund

HOUR_S = 3600
STARTS_AT = 1_699_999_200
HOUR = QuotaClaim(field="q:m:3600", cost=1, limit=1000, starts_at=STARTS_AT, ends_at=STARTS_AT + HOUR_S)
ENDED = "p:m:3600"
EPOCH = 2**32
OTHER = "0" * 40
"""A history that is not the server's."""


class Customer:
    def __init__(self, cache: Cache, raw: Redis, customer_id: str) -> None:
        self.cache, self.raw = cache, raw
        self.account = Account(customer_id=customer_id, user_id="u", version=1, created_at=0)
        self.key = f"tg:{{{customer_id}}}:use"
        self.receipts = 0

    async def publish(self, counters=None, seq: int = 0, ended=None) -> None:
        await self.cache.publish(self.account, counters=counters or {}, ended=ended or {}, seq_floor=seq, expires_s=600)

    async def charge(self, cost: int = 1, hour: int = 0) -> Receipt:
        starts_at = STARTS_AT + hour * HOUR_S
        claim = replace(HOUR, cost=cost, starts_at=starts_at, ends_at=starts_at + HOUR_S)
        answer = await self.cache.charge(
            ChargeRequest(
                customer_id=self.account.customer_id, version=1, claims=(claim,), now_ms=(starts_at + 9) * 1000
            )
        )
        assert isinstance(answer, Charged)
        self.receipts += 1
        return Receipt(
            customer_id=self.account.customer_id,
            receipt_id=f"r{self.receipts}",
            parts=((HOUR.field, starts_at, cost),),
            seq=answer.seq,
        )

    async def settle(self, receipt: Receipt, cost: int) -> list[int]:
        return await self.cache.settle_packed(prepare_settlement(receipt, [cost]))

    async def stored(self) -> dict[str, str]:
        return await self.raw.hgetall(self.key)

    async def fall_back(self, stored: dict[str, str]) -> None:
        """A replica takes over that has this."""
        await self.raw.delete(self.key)
        await self.raw.hset(self.key, mapping={**stored, "e": OTHER})


@pytest.fixture
async def customer(cache: Cache, raw: Redis, customer_id: str) -> Customer:
    customer = Customer(cache, raw, customer_id)
    await customer.publish()
    return customer


async def test_what_a_call_cost_more_counts_in_the_window_that_was_charged_also_after_its_end(customer):
    calls = [await customer.charge() for _ in range(3)]
    await customer.charge(hour=1)
    assert [await customer.settle(call, 4000) for call in calls] == [[0, 3999, 0]] * 3
    reading = await customer.cache.read_usage(customer.account.customer_id)
    assert reading.ended == {HOUR.field: (STARTS_AT, 12_000)}
    assert reading.quotas == {HOUR.field: (STARTS_AT + HOUR_S, 1)}
    assert reading.seq == EPOCH + 7, "so the ended window is settled again"


async def test_what_is_given_back_after_its_window_leaves_the_next_one_alone(customer):
    call = await customer.charge(cost=5)
    await customer.charge(cost=7, hour=1)
    assert await refund(customer.cache, call) == 5
    stored = await customer.stored()
    assert (stored[ENDED], stored[HOUR.field]) == (f"{STARTS_AT}|0", f"{STARTS_AT + HOUR_S}|7")


async def test_what_belongs_to_a_window_that_is_not_kept_any_more_is_counted_nowhere_and_that_is_said(customer):
    call = await customer.charge(cost=5)
    await customer.charge(hour=1)
    await customer.charge(hour=2)
    before = await customer.stored()
    assert await customer.settle(call, 9) == [0, 0, 4]
    assert await customer.stored() == before


async def test_no_script_writes_into_what_nobody_believes(customer):
    cache, customer_id = customer.cache, customer.account.customer_id
    call = await customer.charge(cost=20)
    once = OnceCall(digest="key", fingerprint="print", terms=OnceTerms(window_s=600, repeats=3))
    draw = Draw(
        customer_id=customer_id,
        version=1,
        claims=(HOUR,),
        name="n",
        wanted=5,
        ttl_ms=500,
        now_ms=(STARTS_AT + 9) * 1000,
    )
    assert (await cache.charge_packed(prepare_draw(draw)))[0] == 1
    await customer.fall_back(await customer.stored())
    before = await customer.stored()
    assert await customer.settle(call, 9) == [0, 0, -1]
    assert await customer.settle(call, 90) == [0, 0, -1]
    assert await cache.settle_packed(prepare_once_refund(call, once)) == [0, 0, -1]
    assert await cache.charge_packed(prepare_lease_end(customer_id, "n", [(HOUR.field, 5, STARTS_AT)])) == 0
    assert await cache.charge_packed(prepare_draw(replace(draw, name="m"))) == [0, draw.now_ms]
    assert await cache.charge_back(replace(call, receipt_id="back")) is None
    assert await customer.stored() == before
    await customer.publish()
    assert await customer.settle(call, 9) == [11, 0, 0], "nothing was done with it before, so it has not ended"


async def test_a_call_that_what_was_restored_has_is_given_back_and_one_that_it_may_not_have_is_not(customer):
    early = await customer.charge(cost=10)
    behind = await customer.stored()
    settled, lost = await customer.charge(cost=20), await customer.charge(cost=40)
    await customer.fall_back(behind)
    await customer.publish({HOUR.field: (STARTS_AT, 30)}, settled.seq)
    later = await customer.charge(cost=80)
    assert await customer.settle(lost, 0) == [0, 0, 40]
    assert (await customer.stored())[HOUR.field] == f"{STARTS_AT}|110"
    assert [await refund(customer.cache, call) for call in (early, settled, later)] == [10, 20, 80]


async def test_what_a_lost_call_cost_more_than_it_reserved_is_counted(customer):
    lost = await customer.charge(cost=10)
    await customer.fall_back({**await customer.stored(), HOUR.field: f"{STARTS_AT}|0", "s": str(EPOCH)})
    await customer.publish({HOUR.field: (STARTS_AT, 3)}, EPOCH)
    assert await customer.settle(lost, 25) == [0, 15, 0]
    assert (await customer.stored())[HOUR.field] == f"{STARTS_AT}|15"


async def test_a_charge_that_nobody_knows_more_of_gives_nothing_back_to_what_was_restored(customer):
    unknown = Receipt(customer_id=customer.account.customer_id, receipt_id="r", parts=((HOUR.field, STARTS_AT, 20),))
    await customer.raw.delete(customer.key)
    await customer.publish({HOUR.field: (STARTS_AT, 100)}, EPOCH + 9)
    assert await customer.settle(unknown, 0) == [0, 0, 20]
    assert (await customer.stored())[HOUR.field] == f"{STARTS_AT}|100"


async def test_what_was_charged_back_is_corrected_as_it_was_counted(customer):
    await customer.raw.delete(customer.key)
    await customer.publish({HOUR.field: (STARTS_AT, 100)}, EPOCH + 9)
    back = Receipt(customer_id=customer.account.customer_id, receipt_id="b", parts=((HOUR.field, STARTS_AT, 20),))
    counted = await customer.cache.charge_back(back)
    assert counted == (20, 2 * EPOCH + 1)
    assert await refund(customer.cache, replace(back, receipt_id="one of them", seq=counted[1])) == 20


async def test_what_was_let_in_counts_in_the_later_window_that_a_charge_of_then_had_gone_on_with(customer):
    later = STARTS_AT + HOUR_S
    await customer.charge(hour=1)
    parts = ((HOUR.field, STARTS_AT, 20),)
    back = Receipt(customer_id=customer.account.customer_id, receipt_id="b", parts=parts, charged_at=later)
    counted = await customer.cache.charge_back(back)
    stored = await customer.stored()
    assert (stored[HOUR.field], ENDED in stored) == (f"{later}|21", False)
    assert counted is not None
    assert await customer.settle(replace(back, receipt_id="one of them", seq=counted[1]), 25) == [0, 5, 0]
    assert await refund(customer.cache, replace(back, receipt_id="another", seq=counted[1])) == 20
    assert (await customer.stored())[HOUR.field] == f"{later}|6"


async def test_what_was_let_in_before_the_window_of_now_began_counts_in_the_one_before(customer):
    later = STARTS_AT + HOUR_S
    await customer.charge(hour=1)
    parts = ((HOUR.field, STARTS_AT, 20),)
    back = Receipt(customer_id=customer.account.customer_id, receipt_id="b", parts=parts, charged_at=later - 1)
    await customer.cache.charge_back(back)
    stored = await customer.stored()
    assert (stored[HOUR.field], stored[ENDED]) == (f"{later}|1", f"{STARTS_AT}|20")


async def test_a_call_of_an_account_that_was_moved_back_is_corrected_in_the_window_that_counted_it(customer):
    later = STARTS_AT + HOUR_S
    await customer.charge(hour=1)
    claim = replace(HOUR, cost=5, ends_at=later + HOUR_S)
    customer_id, now_ms = customer.account.customer_id, (later + 9) * 1000
    answer = await customer.cache.charge(
        ChargeRequest(customer_id=customer_id, version=1, claims=(claim,), now_ms=now_ms)
    )
    assert isinstance(answer, Charged)
    assert (await customer.stored())[HOUR.field] == f"{later}|6"
    parts = ((HOUR.field, STARTS_AT, 5),)
    receipt = Receipt(customer_id=customer_id, receipt_id="r", parts=parts, seq=answer.seq, charged_at=later + 9)
    assert await customer.settle(receipt, 8) == [0, 3, 0]
    assert await refund(customer.cache, replace(receipt, receipt_id="again")) == 5
    assert (await customer.stored())[HOUR.field] == f"{later}|4"


async def test_a_lease_of_before_gives_nothing_back_to_what_was_restored(customer):
    await customer.charge(cost=20)
    draw = Draw(
        customer_id=customer.account.customer_id,
        version=1,
        claims=(HOUR,),
        name="n",
        wanted=5,
        ttl_ms=500,
        now_ms=(STARTS_AT + 9) * 1000,
    )
    await customer.cache.charge_packed(prepare_draw(draw))
    await customer.fall_back(await customer.stored())
    await customer.publish({HOUR.field: (STARTS_AT, 60)}, EPOCH + 30)
    command = prepare_lease_end(draw.customer_id, "n", [(HOUR.field, 5, STARTS_AT)])
    assert await customer.cache.charge_packed(command) == 0
    assert (await customer.stored())[HOUR.field] == f"{STARTS_AT}|60"


async def test_an_ended_window_is_restored_too_where_the_ledger_is_ahead(customer):
    await customer.charge(cost=10)
    await customer.charge(cost=1, hour=1)
    await customer.fall_back(await customer.stored())
    await customer.publish({HOUR.field: (STARTS_AT + HOUR_S, 8)}, EPOCH + 30, {HOUR.field: (STARTS_AT, 510)})
    stored = await customer.stored()
    assert (stored[ENDED], stored[HOUR.field]) == (f"{STARTS_AT}|510", f"{STARTS_AT + HOUR_S}|8")
