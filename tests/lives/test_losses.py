"""Money that is taken back, under sellers who have a line for it: what is had then, and until when."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gateway.sandbox.engine.charges import last_charge_of, move_dispute, open_dispute, refund
from tests.lives.acts import running
from tests.lives.laws import DEGRADING, LENIENT, SHIPPED, SUSPENDED, Law
from tests.lives.losses import be_given_money, have_a_refund_fail
from tests.lives.test_debits import granted_after, promised

if TYPE_CHECKING:
    from tests.lives.conftest import NewTown
    from tests.lives.town import Buyer, Town

GOOD = "4242424242424242"


async def paid(new_town: NewTown, law: Law) -> tuple[Town, Buyer]:
    """Somebody with a month of the plan."""
    town, buyer = await promised(new_town, law, GOOD)
    assert await granted_after(town, 1) == "pro"
    return town, buyer


def give_back(town: Town, buyer: Buyer) -> None:
    """All of the newest payment."""
    charge = last_charge_of(town.simulator.world, buyer.stripe_customer_id or "")
    town.simulator.carry_out(partial(refund, charge_id=charge.id))


async def test_what_is_refunded_is_had_as_long_as_the_seller_says_and_again_with_the_next_payment(
    new_town: NewTown,
) -> None:
    town, buyer = await paid(new_town, DEGRADING)
    give_back(town, buyer)
    assert await granted_after(town, 1) == "pro"
    assert await granted_after(town, 2) == "free"
    assert await granted_after(town, 30) == "pro"


async def test_a_refund_that_fails_gives_back_what_it_took(new_town: NewTown) -> None:
    town, buyer = await paid(new_town, LENIENT)
    give_back(town, buyer)
    assert await granted_after(town, 1) == "free"
    await have_a_refund_fail(town, buyer)
    assert await granted_after(town, 1) == "pro"


async def test_a_dispute_that_is_lost_suspends_until_the_next_payment(new_town: NewTown) -> None:
    town, buyer = await paid(new_town, DEGRADING)
    charge = last_charge_of(town.simulator.world, buyer.stripe_customer_id or "")
    dispute = town.simulator.carry_out(partial(open_dispute, charge_id=charge.id, reason="fraudulent"))
    town.simulator.carry_out(partial(move_dispute, dispute_id=dispute.id, status="lost"))
    assert await granted_after(town, 1) == SUSPENDED
    assert await granted_after(town, 32) == "pro"


async def test_a_seller_without_a_line_for_it_takes_nothing_away(new_town: NewTown) -> None:
    town, buyer = await paid(new_town, SHIPPED)
    give_back(town, buyer)
    assert await granted_after(town, 3) == "pro"


async def test_a_refund_whose_event_is_lost_is_found(new_town: NewTown) -> None:
    town, buyer = await paid(new_town, LENIENT)
    give_back(town, buyer)
    town.lose_events()
    assert await granted_after(town, 2) == "free"


async def fall(town: Town, buyer: Buyer) -> None:
    """From a year to a month, in the portal: most of the year becomes a credit."""
    [one] = running(town, buyer)
    items = {"0": {"id": one.items[0].id, "price": "price_pro_monthly"}}
    town.stripe("POST", f"/v1/subscriptions/{one.id}", items=items)


async def test_a_credit_of_what_was_refunded_pays_for_no_month(new_town: NewTown) -> None:
    town, buyer = await promised(new_town, LENIENT, GOOD, "pro-yearly")
    await fall(town, buyer)
    assert await granted_after(town, 33) == "pro"
    give_back(town, buyer)
    assert await granted_after(town, 1) == "free"
    assert await granted_after(town, 33) == "free"
    town.stripe("POST", f"/v1/customers/{buyer.stripe_customer_id}", balance="0")
    assert await granted_after(town, 33) == "pro"


async def test_a_month_that_the_seller_gave_is_had_whatever_is_refunded_before_it(new_town: NewTown) -> None:
    town, buyer = await paid(new_town, LENIENT)
    while town.simulator.world.customer(buyer.stripe_customer_id or "").balance > -2_900:
        await be_given_money(town, buyer)
    assert await granted_after(town, 33) == "pro"
    give_back(town, buyer)
    assert await granted_after(town, 1) == "pro"
