"""The instant at which policy was seen to lack a plan: recorded once, kept by reads, gone when the plan is back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.access import decide_access
from gateway.core.account import Account, Subscription
from gateway.core.missing_plans import held_against, missing_plan, needs_read
from tests.core.test_plan_map import PAID, RENAMED, WITHOUT
from tests.core.test_projection import DAY, NOW, POLICY, recorded

YEAR_S = 365 * DAY
RECORD = replace(recorded(PAID), period_ends_at=NOW + YEAR_S)
UNNAMED = replace(RECORD, sold_as=None, last_good_tier=None)


def kept_until(record: Subscription) -> int | None:
    account = Account(customer_id="c1", user_id="u1", version=1, created_at=1, subscription=record)
    return decide_access(account, WITHOUT, NOW).grace_until


def test_the_days_of_a_plan_that_went_are_counted_from_when_policy_was_seen_to_lack_it() -> None:
    held = held_against(RECORD, WITHOUT, NOW)
    assert (held.unreadable_since, kept_until(held)) == (NOW, NOW + DAY)
    assert missing_plan(held, WITHOUT) == "pro-monthly"
    assert not needs_read(held, WITHOUT)


def test_they_are_counted_once_however_often_it_is_looked_and_also_when_stripe_is_read() -> None:
    held = held_against(RECORD, WITHOUT, NOW)
    assert held_against(held, WITHOUT, NOW + 9) == held
    read = recorded(PAID, held, NOW + 9, policy=WITHOUT)
    assert (read.plan_id, read.unreadable_since) == (None, NOW)
    assert held_against(read, WITHOUT, NOW + 10) == read


@pytest.mark.parametrize("policy", [POLICY, RENAMED], ids=["as before", "under another name"])
def test_a_plan_that_comes_back_is_missing_no_more_and_has_all_its_days_when_it_goes_again(policy: object) -> None:
    held = held_against(RECORD, WITHOUT, NOW)
    back = held_against(held, policy, NOW + 9)  # type: ignore[arg-type]  # both are policies
    assert (back.unreadable_since, missing_plan(back, policy)) == (None, None)  # type: ignore[arg-type]
    assert held_against(back, WITHOUT, NOW + 20).unreadable_since == NOW + 20


def test_what_a_read_could_not_map_stays_unreadable_until_the_next_read() -> None:
    read = recorded(PAID, RECORD, NOW, policy=WITHOUT)
    assert held_against(read, POLICY, NOW + 9).unreadable_since == NOW
    odd = replace(RECORD, status="hibernating", unreadable_since=NOW)
    assert held_against(odd, POLICY, NOW + 9) == odd
    assert held_against(replace(odd, unreadable_since=None), WITHOUT, NOW + 9).unreadable_since is None


@pytest.mark.parametrize("status", ["canceled", "incomplete_expired", "customer_deleted"])
def test_nothing_is_written_of_what_is_over(status: str) -> None:
    over = replace(RECORD, status=status)
    assert held_against(over, WITHOUT, NOW) == over
    assert not needs_read(replace(UNNAMED, status=status), WITHOUT)
    assert missing_plan(over, WITHOUT) is None


def test_a_record_that_does_not_say_what_its_plan_granted_is_named_while_it_can_be_and_else_read() -> None:
    assert held_against(UNNAMED, POLICY, NOW) == RECORD
    assert held_against(UNNAMED, WITHOUT, NOW) == UNNAMED, "a read says since when"
    assert needs_read(UNNAMED, WITHOUT)
    assert not needs_read(recorded(PAID, UNNAMED, NOW, policy=WITHOUT), WITHOUT), "it was read"


def test_what_is_beneath_is_held_against_policy_too() -> None:
    record = replace(RECORD, status="paused", beneath=UNNAMED)
    held = held_against(record, POLICY, NOW)
    assert held.beneath == RECORD
    lacking = held_against(held, WITHOUT, NOW)
    assert lacking.beneath is not None
    assert (lacking.unreadable_since, lacking.beneath.unreadable_since) == (NOW, NOW)
