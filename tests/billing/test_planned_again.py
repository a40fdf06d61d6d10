"""A change that was planned comes back if the one that took its place is not paid; against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import BillingUnavailable
from gateway.sync import ExtrasOrder, PlanChanges
from tests.billing.test_extras_changes import changes_of as selling_extras
from tests.billing.test_payments_of_changes import changes_of, mend_card
from tests.billing.test_scheduled_changes import items, planned, schedules, to_the_next_period

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"


async def replaced(shop: Any, plan_id: str = "enterprise-monthly") -> tuple[str, PlanChanges]:
    """Somebody who planned to pay by the month, and whose upgrade since then waits for its payment."""
    customer_id = await shop.buyer("pro-yearly", FAILS_LATER)
    changes = changes_of(shop, downgrade=("period-end", "now"), proration="now")
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    changed = await changes.apply(customer_id, plan_id, actor="customer")
    assert changed.result.is_pending
    await shop.settle()
    assert await planned(shop, customer_id) == (None, None), "while it waits, it would be undone by what was planned"
    return customer_id, changes


async def notes(shop: Any, customer_id: str) -> dict[str, str]:
    subscription_id = (await shop.load(customer_id)).subscription_id
    subscription = await shop.sandbox.stripe.v1.subscriptions.retrieve_async(subscription_id)
    return {name: value for name, value in subscription.metadata.to_dict().items() if "planned" in name}


async def gives_up(shop: Any) -> None:
    """Stripe, after 23 hours."""
    await shop.sandbox.control("clock/advance", seconds=23 * 3600 + 60)
    await shop.settle()


async def test_what_was_planned_comes_back_when_the_upgrade_is_not_paid(shop: Any) -> None:
    customer_id, _ = await replaced(shop)
    await gives_up(shop)
    recorded = await shop.load(customer_id)
    assert (recorded.plan_id, recorded.flags) == ("pro-yearly", ())
    assert await planned(shop, customer_id) == ("pro-monthly", recorded.period_ends_at)
    assert (len(await schedules(shop, customer_id)), await notes(shop, customer_id)) == (1, {})
    [last, *_] = await shop.ledger.list_audit(customer_id)
    assert "planned again" in last.because
    await mend_card(shop, customer_id)
    await to_the_next_period(shop, customer_id)
    assert await items(shop, customer_id) == ["pro_monthly"]


async def test_what_was_planned_is_forgotten_when_the_upgrade_is_paid(shop: Any) -> None:
    customer_id, _ = await replaced(shop)
    await mend_card(shop, customer_id)
    assert await items(shop, customer_id) == ["enterprise_monthly"]
    assert (await planned(shop, customer_id), await notes(shop, customer_id)) == ((None, None), {})
    await gives_up(shop)
    assert await schedules(shop, customer_id) == []


@pytest.mark.parametrize("how", ["taken back", "the plan that there is", "another one planned"])
async def test_who_decides_otherwise_meanwhile_gets_nothing_back(shop: Any, how: str) -> None:
    customer_id, changes = await replaced(shop)
    if how == "taken back":
        await changes.keep(customer_id, actor="customer")
    elif how == "the plan that there is":
        await changes.apply(customer_id, "pro-yearly", actor="customer")
    else:
        await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
        await changes.keep(customer_id, actor="customer")
    await shop.settle()
    await gives_up(shop)
    assert (await planned(shop, customer_id), await notes(shop, customer_id)) == ((None, None), {})
    assert await schedules(shop, customer_id) == []


async def test_of_two_upgrades_that_are_not_paid_the_second_brings_back_what_the_first_replaced(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = changes_of(shop, upgrade=("now", "period-end"), proration="now")
    await changes.apply(customer_id, "enterprise-monthly", actor="customer", when="period-end")
    for plan_id in ("pro-yearly", "enterprise-monthly"):
        assert (await changes.apply(customer_id, plan_id, actor="customer", when="now")).result.is_pending
        await shop.settle()
    await gives_up(shop)
    assert (await planned(shop, customer_id))[0] == "enterprise-monthly"


async def test_seats_that_were_to_go_are_to_go_again(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    changes = await selling_extras(shop, proration="next invoice")
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=4, add_ons=("extra",)))
    await changes.apply(customer_id, None, actor="customer", extras=ExtrasOrder(seats=2, add_ons=()))
    changes = await selling_extras(shop, proration="now")
    changed = await changes.apply(customer_id, "enterprise-monthly", actor="c", extras=ExtrasOrder(seats=5))
    assert changed.result.is_pending
    await gives_up(shop)
    [schedule] = await schedules(shop, customer_id)
    assert [(one.price, one.quantity) for one in schedule.phases[1]["items"]] == [("price_pro_monthly", 2)]


async def test_what_is_not_sold_any_more_is_not_planned_again(shop: Any) -> None:
    customer_id, _ = await replaced(shop)
    changes_of(shop, downgrade=("now",), proration="now")
    await gives_up(shop)
    assert (await planned(shop, customer_id), await notes(shop, customer_id)) == ((None, None), {})


async def test_a_worker_that_is_lost_in_the_middle_loses_nothing_that_was_planned(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between taking the old plan back and asking for the new one."""
    customer_id = await shop.buyer("pro-yearly")
    changes = changes_of(shop, downgrade=("period-end", "now"), proration="now")
    await changes.apply(customer_id, "pro-monthly", actor="customer")

    async def breaks_off(_: object) -> None:
        raise BillingUnavailable("lost")

    with monkeypatch.context() as patched:
        patched.setattr(shop.sync.billing.changes, "apply", breaks_off)
        with pytest.raises(BillingUnavailable):
            await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    assert await schedules(shop, customer_id) == []
    await shop.settle()
    assert (await planned(shop, customer_id))[0] == "pro-monthly"
