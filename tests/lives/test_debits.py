"""A first payment by bank debit buys nothing before it arrives; a debit that fails later is a payment that is due."""

from __future__ import annotations

import pytest

from tests.lives.acts import pay_at, use_card
from tests.lives.conftest import NewTown
from tests.lives.debits import ARRIVES, FAILS
from tests.lives.holding import check_bounds, check_in_step, granted_to, recorded
from tests.lives.laws import DAY_S, LENIENT, SHIPPED, STRICT, Law
from tests.lives.town import Buyer, Town


async def promised(new_town: NewTown, law: Law, account: str, plan_id: str = "pro-monthly") -> tuple[Town, Buyer]:
    """A checkout that is complete and not paid."""
    town = await new_town(1, 1, law=law)
    [buyer] = town.buyers
    link = await town.checkouts.for_customer(buyer.customer_id, plan_id)
    pay_at(town, link.session_id, account)
    await town.look_up(buyer)
    await check_in_step(town)
    return town, buyer


async def granted_after(town: Town, days: float) -> str:
    """What somebody has so much later, when all was delivered; and nobody had more on the way."""
    await town.simulator.advance(days * DAY_S)
    town.note_truths()
    await check_bounds(town)
    await check_in_step(town)
    [account] = (await recorded(town)).values()
    return granted_to(town, account, town.now())


@pytest.mark.parametrize(("account", "then"), [(ARRIVES, "pro"), (FAILS, "free")], ids=["arrives", "fails"])
async def test_a_first_debit_buys_nothing_until_it_arrives(new_town: NewTown, account: str, then: str) -> None:
    town, _ = await promised(new_town, SHIPPED, account)
    assert await granted_after(town, 3) == "free"
    assert await granted_after(town, 2) == then


async def test_a_seller_may_wait_some_days_for_a_first_debit_and_no_longer(new_town: NewTown) -> None:
    town, _ = await promised(new_town, LENIENT, ARRIVES)
    assert await granted_after(town, 1) == "pro"
    assert await granted_after(town, 1) == "free"
    assert await granted_after(town, 3) == "pro"


async def test_a_renewal_is_not_due_while_its_debit_is_on_its_way_and_is_when_it_failed(new_town: NewTown) -> None:
    town, buyer = await promised(new_town, STRICT, ARRIVES)
    assert await granted_after(town, 5) == "pro"
    await use_card(town, buyer, "pm_usBankAccount_insufficientFunds")
    assert await granted_after(town, 27.5) == "pro"
    assert await granted_after(town, 4) == "refused: payment-required"


async def test_a_first_debit_whose_answer_is_lost_is_found(new_town: NewTown) -> None:
    town, _ = await promised(new_town, STRICT, ARRIVES)
    town.lose_events()
    assert await granted_after(town, 5) == "pro"
