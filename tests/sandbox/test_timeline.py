"""The core without HTTP: time alone decides what happens, not how often one looks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sandbox.cards import read_number
from gateway.sandbox.engine.methods import attach, new_method
from gateway.sandbox.engine.saving import add_customer
from gateway.sandbox.engine.subscriptions import Start, start
from gateway.sandbox.engine.timeline import next_due_at, reach
from gateway.sandbox.records import Customer
from gateway.sandbox.rules import FINAL_ACTIONS, Rules
from gateway.sandbox.seed import seed
from gateway.sandbox.world import World

pytestmark = pytest.mark.slow

START_AT = 1_801_350_000
DAY_S = 86_400
CARDS = ("4242424242424242", "4000000000000341")
PRICES = ("price_pro_monthly", "price_pro_yearly", "price_enterprise_monthly")


def _world(cards: list[str], prices: list[str], trial_days: int, final_action: str) -> World:
    world = World(now=START_AT, run="t")
    world.rules = Rules(final_action=final_action)
    seed(world)
    for card, price in zip(cards, prices, strict=False):
        customer = Customer(id=world.new_id("cus"), created=world.now)
        add_customer(world, customer)
        method = new_method(world, read_number(card), exp_month=12, exp_year=2040)
        attach(world, method.id, customer.id)
        wanted = Start(
            customer_id=customer.id,
            prices=[(price, 1)],
            payment_method_id=method.id,
            on_session=True,
            trial_days=trial_days,
        )
        start(world, wanted)
        world.now += 1
    return world


lives = {
    "cards": st.lists(st.sampled_from(CARDS), min_size=1, max_size=3),
    "prices": st.lists(st.sampled_from(PRICES), min_size=3, max_size=3),
    "trial_days": st.sampled_from([0, 1, 10]),
    "final_action": st.sampled_from(FINAL_ACTIONS),
}


@settings(deadline=None, max_examples=60)
@given(steps=st.lists(st.integers(1, 50 * DAY_S), min_size=1, max_size=12), **lives)
def test_one_long_advance_and_many_short_ones_come_to_the_same(
    steps: list[int], cards: list[str], prices: list[str], trial_days: int, final_action: str
) -> None:
    stepped, at_once = (_world(cards, prices, trial_days, final_action) for _ in range(2))
    for step in steps:
        reach(stepped, stepped.now + step)
    reach(at_once, at_once.now + sum(steps))
    assert at_once.tables == stepped.tables


@settings(deadline=None, max_examples=60)
@given(days=st.integers(1, 900), **lives)
def test_events_are_in_order_and_every_bill_adds_up(
    days: int, cards: list[str], prices: list[str], trial_days: int, final_action: str
) -> None:
    world = _world(cards, prices, trial_days, final_action)
    reach(world, world.now + days * DAY_S)
    created = [event.created for event in world.tables.events.values()]
    assert created == sorted(created)
    assert created[-1] <= world.now
    due = next_due_at(world)
    assert due is None or due > world.now
    for invoice in world.tables.invoices.values():
        assert invoice.total == sum(line.amount for line in invoice.lines)
        assert (invoice.status == "paid") == (invoice.paid_at is not None)
    for subscription in world.tables.subscriptions.values():
        latest = world.invoice(subscription.latest_invoice_id or "")
        if subscription.status == "active":
            assert latest.status == "paid" or latest.attempt_count == 0
        if subscription.status == "past_due":
            assert latest.status in {"open", "draft"}


def test_a_restored_world_is_as_it_was() -> None:
    world = _world([CARDS[0]], list(PRICES), 0, "cancel")
    before = world.tables.copy()
    events = len(world.fresh_events)
    snapshot = world.snapshot()
    add_customer(world, Customer(id=world.new_id("cus"), created=world.now))
    world.tables.customers["cus_t0001"] = replace(world.tables.customers["cus_t0001"], name="changed")
    world.restore(snapshot)
    assert world.tables == before
    assert len(world.fresh_events) == events
    assert world.new_id("cus") == "cus_t0002"
