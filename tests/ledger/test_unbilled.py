"""Windows whose subscription ended at once: which they are, and that each is closed once. On SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.core.billing_facts import CustomerFacts
from gateway.core.ended_periods import ended_periods
from gateway.core.overage import overage_field
from gateway.ledger import UnbilledFilter, UsageTotal
from tests.steps import found

START, END = 1_000, 2_000
LATER = 10_000


async def overused(ledger, customer, *, window=START, units=5):
    field = overage_field("requests")
    total = UsageTotal(customer_id=customer, field=field, window_starts_at=window, used=units, seq=1)
    await ledger.settle([total])
    (turn,) = await ledger.claim_meters(worker="w", now=window, lease_s=1, limit=1)
    for row in await ledger.list_unreported(turn):
        await ledger.note_window(replace(row, window_ends_at=row.window_starts_at + 1_000, stripe_meter="api"))
    await ledger.release_meter(turn)


async def record(ledger, customer, subscription):
    fence = await ledger.take_fence(customer)
    gone = CustomerFacts(stripe_customer_id="cus_1", exists=False)
    await ledger.apply_subscription(
        customer,
        fence,
        found(subscription),
        now=9,
        actor="stripe",
        because="evt_1",
        ended=lambda record: ended_periods(gone, record, 9),
    )


@pytest.mark.parametrize("status", ["canceled", "customer_deleted", "incomplete_expired"])
async def test_a_window_whose_subscription_ended_in_the_middle_of_it_is_listed(ledger, customer, subscription, status):
    await overused(ledger, customer)
    await record(ledger, customer, replace(subscription, status=status, status_since=1_500))
    (row,) = await ledger.list_ended_windows(LATER)
    assert (row.customer_id, row.meter, row.stripe_meter, row.total) == (customer, "requests", "api", 5)
    assert (row.ended_at, row.ended_as) == (1_500, status)


@pytest.mark.parametrize(
    ("changes", "before", "window"),
    [
        ({"status": "active"}, LATER, START),
        ({"status": "past_due", "status_since": 1_500}, LATER, START),
        ({"status": "canceled", "status_since": END}, LATER, START),
        ({"status": "canceled", "status_since": 1_500}, 1_500, START),
        ({"status": "canceled", "status_since": 1_500}, LATER, 1_600),
        ({"status": "canceled", "status_since": 1_500}, LATER, 0),
    ],
    ids=["it-runs", "it-owes", "it-ended-with-its-period", "it-has-just-ended", "begun-after-it", "invoiced-long-ago"],
)
async def test_no_other_window_is(ledger, customer, subscription, changes, before, window):
    await overused(ledger, customer, window=window)
    await record(ledger, customer, replace(subscription, **changes))
    assert await ledger.list_ended_windows(before) == []


async def test_a_window_is_listed_although_its_customer_has_another_subscription_since(ledger, customer, subscription):
    await overused(ledger, customer)
    await record(ledger, customer, replace(subscription, status="canceled", status_since=1_500))
    await record(ledger, customer, replace(subscription, subscription_id="sub_2", period_starts_at=1_510))
    (row,) = await ledger.list_ended_windows(LATER)
    assert (row.window_starts_at, row.ended_at) == (START, 1_500)


async def test_periods_that_ended_long_ago_are_forgotten(ledger, customer, subscription):
    await overused(ledger, customer)
    await record(ledger, customer, replace(subscription, status="canceled", status_since=1_500))
    await ledger.forget_ended_periods(1_500)
    assert len(await ledger.list_ended_windows(LATER)) == 1
    await ledger.forget_ended_periods(1_501)
    assert await ledger.list_ended_windows(LATER) == []


async def test_a_ledger_that_goes_to_another_account_looks_for_nothing_of_the_one_before(
    ledger, customer, subscription
):
    await overused(ledger, customer)
    await record(ledger, customer, replace(subscription, status="canceled", status_since=1_500))
    await ledger.leave_stripe({"x": "y"}, without=(), now=LATER, actor="operator")
    assert await ledger.list_ended_windows(LATER) == []


async def test_all_months_of_a_year_that_ended_in_its_middle_are_listed_page_by_page(ledger, customer, subscription):
    for window in (1_000, 2_000, 3_000):
        await overused(ledger, customer, window=window)
    await record(ledger, customer, replace(subscription, period_ends_at=9_000, status="canceled", status_since=3_500))
    seen, after = [], ("", "", 0)
    while page := await ledger.list_ended_windows(LATER, after=after, limit=2):
        seen += [row.window_starts_at for row in page]
        after = (page[-1].customer_id, page[-1].meter, page[-1].window_starts_at)
    assert seen == [1_000, 2_000, 3_000]


async def test_a_window_is_closed_once_and_not_listed_again(ledger, customer, subscription, ledger_url, open_ledger):
    await overused(ledger, customer)
    await record(ledger, customer, replace(subscription, status="canceled", status_since=1_500))
    other = await open_ledger(ledger_url)
    (row,) = await ledger.list_ended_windows(LATER)
    closed = await asyncio.gather(*(one.close_window(row, unbilled=5, now=LATER) for one in (ledger, other)))
    assert sorted(closed) == [False, True]
    assert await ledger.list_ended_windows(LATER) == []
    (unbilled,) = await ledger.list_unbilled(customer)
    assert (unbilled.unbilled, unbilled.closed_at) == (5, LATER)
    assert await ledger.list_unbilled("another") == []


async def test_a_window_that_is_wholly_billed_is_not_among_the_unbilled(ledger, customer, subscription):
    await overused(ledger, customer)
    await record(ledger, customer, replace(subscription, status="canceled", status_since=1_500))
    (row,) = await ledger.list_ended_windows(LATER)
    assert await ledger.close_window(row, unbilled=0, now=LATER)
    assert await ledger.list_unbilled() == []


async def unbilled(ledger, customer, subscription, windows=(START,)):
    for window in windows:
        await overused(ledger, customer, window=window)
    await record(ledger, customer, replace(subscription, period_ends_at=9_000, status="canceled", status_since=8_500))
    for row in await ledger.list_ended_windows(LATER):
        assert await ledger.close_window(row, unbilled=5, now=LATER)


async def test_what_is_acknowledged_is_counted_no_more_and_stays_listed_with_an_audit_row(
    ledger, customer, subscription
):
    await unbilled(ledger, customer, subscription)
    assert await ledger.count_unbilled() == {"requests": 5}
    which = UnbilledFilter(customer_id=customer)
    (row,) = await ledger.acknowledge_unbilled(which, now=LATER + 1, actor="operator", because="on invoice 17")
    assert (row.unbilled, row.acknowledged_at) == (5, LATER + 1)
    assert await ledger.count_unbilled() == {"requests": 0}
    assert await ledger.list_unbilled(is_acknowledged=False) == []
    assert await ledger.list_unbilled(is_acknowledged=True) == await ledger.list_unbilled(customer) == [row]
    (audited,) = await ledger.list_audit(customer, limit=1)
    assert (audited.action, audited.actor, audited.because) == ("overage-acknowledged", "operator", "on invoice 17")
    assert audited.before == {"meter": "requests", "window_starts_at": START, "unbilled": 5}


@pytest.mark.parametrize(("found", "is_open"), [(5, False), (9, True)], ids=["as-much", "more"])
async def test_a_window_that_is_looked_at_again_calls_for_action_where_more_of_it_is_on_no_invoice(
    ledger, customer, subscription, found, is_open
):
    await unbilled(ledger, customer, subscription)
    await ledger.acknowledge_unbilled(UnbilledFilter(), now=LATER, actor="operator", because="let go")
    (row,) = await ledger.list_unbilled(customer)
    assert await ledger.close_window(replace(row, ended_at=LATER + 1), unbilled=found, now=LATER + 2)
    assert await ledger.count_unbilled() == {"requests": found if is_open else 0}


async def test_it_is_acknowledged_once(ledger, customer, subscription, ledger_url, open_ledger):
    await unbilled(ledger, customer, subscription)
    other = await open_ledger(ledger_url)
    both = await asyncio.gather(
        *(
            one.acknowledge_unbilled(UnbilledFilter(), now=LATER, actor="operator", because="let go")
            for one in (ledger, other)
        )
    )
    assert sorted(len(rows) for rows in both) == [0, 1]
    rows = await ledger.list_audit(customer)
    assert [row.action for row in rows].count("overage-acknowledged") == 1


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        ({}, [START, 2_000, 3_000]),
        ({"customer_id": "another"}, []),
        ({"meter": "requests"}, [START, 2_000, 3_000]),
        ({"meter": "api"}, [START, 2_000, 3_000]),
        ({"meter": "tokens"}, []),
        ({"at": 2_000}, [2_000]),
        ({"at": 2_999}, [2_000]),
        ({"at": 999}, []),
    ],
    ids=[
        "all",
        "another-customer",
        "the-meter-by-its-name-here",
        "and-at-stripe",
        "another-meter",
        "first-second",
        "last-second",
        "before",
    ],
)
async def test_only_what_is_meant_is_acknowledged(ledger, customer, subscription, which, meant):
    await unbilled(ledger, customer, subscription, windows=(START, 2_000, 3_000))
    found = await ledger.acknowledge_unbilled(UnbilledFilter(**which), now=LATER, actor="operator", because="let go")
    assert sorted(row.window_starts_at for row in found) == meant
