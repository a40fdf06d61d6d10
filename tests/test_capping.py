"""Spend caps are taken before there is anything to bill, and a cap of nothing is taken always."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.capping import CapOrder, Capping, NoOverage, SpendCapInvalid
from gateway.core.errors import OverageCapReached
from gateway.core.overage import overage_field
from tests.steps import subscribe
from tests.test_admission import pro
from tests.test_overage import ITEM, POLICY, admit_all, buyer, counted
from tests.test_plan_change import edit


@pytest.fixture(autouse=True)
def sold(parts):
    edit(parts, POLICY)


async def cap(parts, customer_id, amount, **order):
    capping = Capping(parts.ledger, parts.publisher, parts.clock)
    account = await parts.ledger.load_account(customer_id)
    policy = parts.policy.current
    await capping.set(account, policy, CapOrder(amount=amount, **order), actor="test", because="test")
    [state] = capping.list(await parts.ledger.load_account(customer_id), policy)
    return state


@pytest.mark.parametrize("amount", [0, 200])
async def test_a_cap_that_is_set_in_a_trial_holds_when_it_ends(parts, amount):
    customer_id, key = await buyer(parts, status="trialing")
    state = await cap(parts, customer_id, amount)
    assert (state.amount, state.currency, state.units) == (amount, "usd", 0)
    await subscribe(parts, customer_id, pro(parts.clock, metered=(ITEM,)))
    assert await admit_all(parts, key, error=OverageCapReached) == 10 + amount // 100


async def test_a_price_that_cannot_be_read_can_be_capped_at_nothing_only(parts):
    customer_id, key = await buyer(parts, metered=(replace(ITEM, tariff=None),))
    with pytest.raises(NoOverage, match="the only amount that can cap it is 0"):
        await cap(parts, customer_id, 1)
    assert (await cap(parts, customer_id, 0)).amount == 0
    assert await admit_all(parts, key) == 10
    assert overage_field("requests") not in await counted(parts, customer_id)


async def test_a_price_that_is_not_bought_yet_can_be_capped_at_nothing(parts):
    customer_id, _ = await buyer(parts, metered=())
    assert (await cap(parts, customer_id, 0, currency="EUR")).own.currency == "eur"


async def test_a_cap_in_a_trial_is_in_the_currency_of_the_price(parts):
    customer_id, _ = await buyer(parts, status="trialing")
    with pytest.raises(SpendCapInvalid, match="USD"):
        await cap(parts, customer_id, 5, currency="eur")


@pytest.mark.parametrize("status", ["canceled", "customer_deleted"])
async def test_what_has_ended_has_nothing_to_cap(parts, status):
    customer_id, _ = await buyer(parts, status=status)
    with pytest.raises(NoOverage):
        await cap(parts, customer_id, 0)


async def test_a_cap_is_of_the_currency_in_which_the_subscription_is_billed(parts):
    in_euros = replace(ITEM, tariff=replace(ITEM.tariff, currency="eur", unit_amount="9.5"))
    customer_id, key = await buyer(parts, metered=(in_euros,))
    with pytest.raises(SpendCapInvalid, match="EUR"):
        await cap(parts, customer_id, 30, currency="usd")
    state = await cap(parts, customer_id, 30)
    assert (state.currency, state.units) == ("eur", 3)
    assert await admit_all(parts, key, error=OverageCapReached) == 13
