"""What a change of plan costs and when it is asked for, by the policy's word, against the Stripe simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.core.switching import Proration, SwitchTerms
from gateway.sync import PlanChanges

pytestmark = pytest.mark.slow

DAY = 86_400
FAILS_LATER = "4000000000000341"


def changes_of(shop: Any, proration: Proration) -> PlanChanges:
    """The changes of a seller whose policy says so."""
    held = shop.sync._policy
    held.current = replace(held.current, switching=SwitchTerms(proration=proration))
    return PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)


async def invoices(shop: Any, customer_id: str) -> list[Any]:
    """Newest first."""
    subscription_id = (await shop.load(customer_id)).subscription_id
    return (await shop.sandbox.stripe.v1.invoices.list_async({"subscription": subscription_id})).data


async def half_a_period_later(shop: Any, customer_id: str) -> None:
    recorded = await shop.load(customer_id)
    middle = (recorded.period_starts_at + recorded.period_ends_at) // 2
    await shop.sandbox.control("clock/advance", until=middle)


@pytest.mark.parametrize("proration", ["next invoice", "now", "none"])
@pytest.mark.parametrize("plan_id", ["enterprise-monthly", "pro-yearly"])
async def test_the_lines_of_a_preview_add_up_to_what_is_asked_for(shop: Any, proration: Any, plan_id: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await half_a_period_later(shop, customer_id)
    preview = await changes_of(shop, proration).preview(customer_id, plan_id)
    assert preview.direction == "upgrade"
    assert sum(line.amount for line in preview.cost.lines) == preview.cost.next_invoice
    kinds = {line.kind for line in preview.cost.lines}
    settles = proration != "none"
    assert ("change" in kinds) == settles
    assert ("period" in kinds) == (proration != "now" or plan_id == "pro-yearly")


@pytest.mark.parametrize(
    ("proration", "made", "amounts"),
    [
        ("next invoice", 1, [2900]),
        ("now", 2, [-1450, 24_950]),
        ("none", 1, [2900]),
    ],
)
async def test_an_upgrade_is_invoiced_when_policy_says(
    shop: Any, proration: Any, made: int, amounts: list[int]
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await half_a_period_later(shop, customer_id)
    changed = await changes_of(shop, proration).apply(customer_id, "enterprise-monthly", actor="customer")
    assert (changed.result.is_pending, (await shop.load(customer_id)).plan_id) == (False, "enterprise-monthly")
    found = await invoices(shop, customer_id)
    assert len(found) == made
    lines = [line.amount for line in found[0].lines.data]
    assert all(abs(line - amount) <= 2 for line, amount in zip(lines, amounts, strict=True))


@pytest.mark.parametrize(("proration", "charged"), [("next invoice", 73_400), ("none", 49_900)])
async def test_the_next_invoice_asks_for_what_was_left_and_for_the_coming_period(
    shop: Any, proration: Any, charged: int
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await half_a_period_later(shop, customer_id)
    changes = changes_of(shop, proration)
    preview = (await changes.preview(customer_id, "enterprise-monthly")).cost
    await changes.apply(customer_id, "enterprise-monthly", actor="customer")
    await shop.sandbox.control("clock/advance", until=(await shop.load(customer_id)).period_ends_at + 2 * 3600)
    [newest, *_] = await invoices(shop, customer_id)
    assert abs(newest.amount_paid - charged) <= 4
    assert abs(newest.amount_paid - preview.next_invoice) <= 4


async def test_an_upgrade_that_is_invoiced_now_and_not_paid_leaves_the_old_plan(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly", FAILS_LATER)
    await half_a_period_later(shop, customer_id)
    changed = await changes_of(shop, "now").apply(customer_id, "enterprise-monthly", actor="customer")
    assert changed.result.is_pending
    assert changed.result.payment_url is not None
    assert (await shop.load(customer_id)).plan_id == "pro-monthly"


@pytest.mark.parametrize("proration", ["next invoice", "now"])
async def test_a_downgrade_gives_credit_that_the_next_invoice_uses_up(shop: Any, proration: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    await half_a_period_later(shop, customer_id)
    changes = changes_of(shop, proration)
    preview = await changes.preview(customer_id, "pro-monthly")
    assert preview.direction == "downgrade"
    assert preview.cost.prorated < 0
    assert preview.cost.next_invoice == 0, "nobody pays for a downgrade, and the rest is kept"
    assert preview.cost.lines[-1].kind == "balance"
    assert preview.cost.lines[-1].amount > 0
    await changes.apply(customer_id, "pro-monthly", actor="customer")
    await shop.sandbox.control("clock/advance", seconds=20 * DAY)
    [newest, *_] = await invoices(shop, customer_id)
    assert newest.amount_paid == 0
