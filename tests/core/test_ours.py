"""Which subscriptions of a Stripe customer are ours, and which are the seller's own affair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.billing_facts import ScheduleFacts
from gateway.core.ours import is_ours
from gateway.core.projection import choose_running, project
from tests.core.test_projection import DAY, NOW, POLICY, codes, customer, item, recorded, subscription

STRANGE = item("support")
CONTRACT = subscription("active", STRANGE, subscription_id="sub_9")
"""What a seller sells beside the API; its id is the later one."""


def test_what_no_plan_sells_is_not_ours() -> None:
    assert not is_ours(CONTRACT, POLICY, None)
    assert not is_ours(CONTRACT, POLICY, recorded(customer(CONTRACT))), "to have been recorded makes nothing ours"


def test_what_a_plan_sells_or_will_sell_is_ours() -> None:
    assert is_ours(subscription(), POLICY, None)
    coming = ScheduleFacts(schedule_id="s", is_ours=False, next_at=NOW + DAY, next_items=(item(),))
    assert is_ours(replace(CONTRACT, schedule=coming), POLICY, None)


def test_what_was_sold_here_or_was_read_as_a_plan_stays_ours_without_a_plan() -> None:
    assert is_ours(replace(CONTRACT, is_labelled=True), POLICY, None)
    sold = recorded(customer(subscription()))
    mapped_away = subscription("active", STRANGE)
    assert is_ours(mapped_away, POLICY, sold)
    later = recorded(customer(mapped_away), sold, NOW + 2 * DAY)
    assert (later.plan_id, later.last_good_plan_id) == (None, "pro-monthly")
    assert is_ours(mapped_away, POLICY, later)
    assert not is_ours(CONTRACT, POLICY, later), "the record is of the other one"


@pytest.mark.parametrize("status", ["active", "unpaid", "paused", "incomplete", "canceled"])
def test_only_what_is_ours_can_be_changed(status: str) -> None:
    chosen = choose_running(customer(CONTRACT, subscription(status)), POLICY, None, NOW)
    assert chosen is not None
    assert chosen.record.subscription_id == "sub_1"
    assert choose_running(customer(CONTRACT), POLICY, None, NOW) is None


@pytest.mark.parametrize("status", ["unpaid", "paused", "incomplete"])
def test_what_is_ours_and_may_run_again_is_recorded_before_what_is_not(status: str) -> None:
    assert recorded(customer(CONTRACT, subscription(status))).subscription_id == "sub_1"


def test_what_was_mapped_away_stays_recorded_beside_what_is_not_ours() -> None:
    sold = recorded(customer(subscription()))
    both = customer(CONTRACT, subscription("active", STRANGE))
    for at in (NOW, NOW + 2 * DAY, NOW + 3 * DAY):
        record, _ = project(both, POLICY, sold, at)
        assert record is not None
        assert record.subscription_id == "sub_1"
        sold = record


def test_two_of_ours_are_a_finding_also_if_a_price_was_mapped_away_and_a_contract_beside_is_none() -> None:
    legacy = replace(CONTRACT, is_labelled=True)
    assert codes(customer(subscription(), legacy)) == ["several-subscriptions"]
    assert codes(customer(subscription(), CONTRACT)) == []
