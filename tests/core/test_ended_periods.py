"""Which subscriptions ended in the middle of a period."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.account import Subscription
from gateway.core.billing_facts import CustomerFacts, ItemFacts, SubscriptionFacts
from gateway.core.ended_periods import TOLD_FOR_S, EndedPeriod, ended_periods
from gateway.core.lifecycle import CUSTOMER_DELETED

START, END = 1_000_000, 3_000_000
ITEM = ItemFacts(item_id="si", price_id="p", lookup_key=None, period_starts_at=START, period_ends_at=END)
ENDED = SubscriptionFacts(
    subscription_id="sub_1", status="canceled", anchor_at=START, started_at=START, items=(ITEM,), ended_at=2_000_000
)
RUNNING = replace(ENDED, subscription_id="sub_2", status="active", ended_at=None)
TOLD = EndedPeriod(subscription_id="sub_1", starts_at=START, ended_at=2_000_000, ended_as="canceled")
RECORD = Subscription(
    subscription_id="sub_1",
    status=CUSTOMER_DELETED,
    plan_id="pro",
    period_starts_at=START,
    period_ends_at=END,
    anchor_at=START,
    status_since=2_000_000,
)
NOW = 2_000_600


def told(*subscriptions: SubscriptionFacts, record: Subscription | None = None, now: int = NOW) -> list[EndedPeriod]:
    facts = CustomerFacts(stripe_customer_id="cus", exists=bool(subscriptions), subscriptions=subscriptions)
    return list(ended_periods(facts, record, now))


def test_one_that_ended_at_once_is_told_of_whatever_runs_beside_it() -> None:
    assert told(ENDED) == told(RUNNING, ENDED) == told(ENDED, RUNNING) == [TOLD]


@pytest.mark.parametrize(
    "other",
    [
        RUNNING,
        replace(RUNNING, status="past_due"),
        replace(ENDED, ended_at=END),
        replace(ENDED, ended_at=None),
        replace(ENDED, items=()),
    ],
    ids=["it-runs", "it-owes", "it-ended-with-its-period", "nobody-knows-when", "nothing-was-sold"],
)
def test_no_other_is(other: SubscriptionFacts) -> None:
    assert told(other) == []


def test_the_longest_of_its_items_is_its_period() -> None:
    yearly = replace(ITEM, period_starts_at=0, period_ends_at=9 * END)
    assert told(replace(ENDED, items=(ITEM, yearly), ended_at=4_000_000), now=4_000_600) == [
        replace(TOLD, starts_at=0, ended_at=4_000_000)
    ]


def test_of_a_customer_that_is_gone_the_record_tells() -> None:
    assert told(record=RECORD) == [replace(TOLD, ended_as=CUSTOMER_DELETED)]
    assert told(record=replace(RECORD, status="active", status_since=None)) == []
    assert told(record=replace(RECORD, period_ends_at=2_000_000)) == []


def test_what_is_recorded_is_told_of_once() -> None:
    assert told(ENDED, record=replace(RECORD, status="canceled")) == [TOLD]


def test_what_ended_long_ago_is_not_told_of_any_more() -> None:
    assert told(ENDED, now=2_000_000 + TOLD_FOR_S - 1) == [TOLD]
    assert told(ENDED, now=2_000_000 + TOLD_FOR_S) == []
    assert told(record=RECORD, now=2_000_000 + TOLD_FOR_S) == []
