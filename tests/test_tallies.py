"""What was used, hour by hour: nothing twice, and nothing lost that a worker had time to write."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import LedgerUnavailable
from gateway.ledger import HOUR_S, Ledger
from gateway.tallies import Tallies
from gateway.telemetry import Metrics

NOON = 1_800_000_000 // HOUR_S * HOUR_S


def call(key_id="k1", route="GET /v1/a", cost=(("requests", 2),), customer_id="c1"):
    """Who makes it, and what it is."""
    plan = SimpleNamespace(key=SimpleNamespace(key_id=key_id), route=SimpleNamespace(pattern=route, cost=cost))
    return SimpleNamespace(customer_id=customer_id), plan


def count(tally, now):
    """As the edge does it."""
    if now >= tally.until:
        tally.turn(now)
    tally.n += 1


async def recorded(ledger, customer_id="c1"):
    rows = await ledger.list_history(customer_id, from_at=0, to_at=2**40, by="hour")
    return [(row.starts_at - NOON, row.meter, row.requests, row.denied, row.units) for row in rows]


@pytest.fixture
def tallies(parts):
    return Tallies(parts.ledger, parts.clock, parts.metrics)


async def test_calls_are_in_the_hour_in_which_they_were_let_through(parts, tallies):
    tally = tallies.tally(*call())
    for second in (0, 1, HOUR_S - 1, HOUR_S, HOUR_S + 1):
        count(tally, NOON + second + 0.5)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 3, 0, 6), (HOUR_S, "requests", 2, 0, 4)]


async def test_a_tally_goes_on_counting_after_it_was_collected(parts, tallies):
    tally = tallies.tally(*call())
    for _ in range(3):
        count(tally, NOON)
        await tallies.flush()
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 3, 0, 6)]


async def test_what_a_forgotten_plan_counted_is_written_too(parts, tallies):
    for _ in range(3):
        count(tallies.tally(*call()), NOON)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 3, 0, 6)]


async def test_what_is_given_back_is_not_billed_and_stays_a_request_of_its_hour(parts, tallies):
    count(tallies.tally(*call()), NOON + HOUR_S - 1)
    await tallies.flush()
    tallies.given_back(*call(), NOON + HOUR_S - 1)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 1, 0, 0)]


async def test_what_is_settled_counts_as_what_it_cost_in_the_hour_of_its_call(parts, tallies):
    priced = call(cost=(("requests", 1), ("tokens", 50)))
    count(tallies.tally(*priced), NOON)
    await tallies.flush()
    tallies.settled(*priced, {"tokens": 20}, NOON)
    tallies.settled(*priced, {"others": 20}, NOON)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 1, 0, 1), (0, "tokens", 1, 0, 20)]


async def test_what_a_limit_refused_is_counted_and_costs_nothing(parts, tallies):
    tallies.denied(*call(), NOON)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 0, 1, 0)]


async def test_a_call_is_a_line_of_every_meter_that_it_costs_and_a_free_one_of_requests(parts, tallies):
    count(tallies.tally(*call(cost=(("requests", 1), ("tokens", 50)))), NOON)
    count(tallies.tally(*call(cost=())), NOON)
    tallies.spent(*call(cost=(("tokens", 3),)), NOON)
    tallies.spent(*call(cost=()), NOON)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 2, 0, 1), (0, "tokens", 1, 0, 53)]


async def test_a_repeat_is_a_request_that_costs_nothing(parts, tallies):
    count(tallies.tally(*call(), is_charged=False), NOON)
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 1, 0, 0)]


class Unsure:
    """A ledger that writes, and whose answer is lost."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.is_lost = True

    async def add_usage(self, *args, **kwargs):
        await self.ledger.add_usage(*args, **kwargs)
        if self.is_lost:
            raise LedgerUnavailable("The ledger did not answer.")


async def test_an_answer_that_is_lost_makes_nothing_count_twice(parts):
    ledger = Unsure(parts.ledger)
    tallies = Tallies(ledger, parts.clock, parts.metrics)
    tally = tallies.tally(*call())
    for _ in range(3):
        count(tally, NOON)
        with pytest.raises(LedgerUnavailable):
            await tallies.flush()
    ledger.is_lost = False
    await tallies.flush()
    await tallies.flush()
    assert await recorded(parts.ledger) == [(0, "requests", 3, 0, 6)]


async def test_while_the_ledger_is_away_everything_waits_and_nothing_is_lost(parts, tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    away = tmp_path / "away"
    (tmp_path / "ledger.sqlite3").rename(away)
    lost = Tallies(await Ledger.open(url), parts.clock, parts.metrics)
    tally = lost.tally(*call())
    for second in range(4):
        count(tally, NOON + second)
        with pytest.raises(LedgerUnavailable):
            await lost.flush()
    away.rename(tmp_path / "ledger.sqlite3")
    await lost.flush()
    await lost._ledger.aclose()
    assert await recorded(parts.ledger) == [(0, "requests", 4, 0, 8)]


async def test_memory_is_bounded_while_the_ledger_is_away(monkeypatch, parts, tallies):
    monkeypatch.setattr("gateway.tallies._MOST_WAITING", 3)
    for number in range(5):
        tallies.denied(*call(customer_id=f"c{number}"), NOON)
    assert len(tallies._counts) == 3
    assert parts.metrics.usage_history_dropped._value.get() == 2


async def test_many_customers_are_written_in_several_batches(parts, tallies):
    for number in range(700):
        tallies.denied(*call(customer_id=f"c{number}"), NOON)
    await tallies.flush()
    for number in (0, 299, 300, 699):
        assert await recorded(parts.ledger, f"c{number}") == [(0, "requests", 0, 1, 0)]


class Memory:
    """A ledger that keeps everything, and fails when told to."""

    def __init__(self):
        self.rows = {}
        self.last = {}
        self.fails = False

    async def add_usage(self, writer, batch, hours, **_):
        if batch > self.last.get(writer, 0):
            self.last[writer] = batch
            for hour in hours:
                self.rows[hour.starts_at] = self.rows.get(hour.starts_at, 0) + hour.units
        if self.fails:
            raise LedgerUnavailable("The ledger did not answer.")


EVENTS = st.lists(
    st.tuples(st.sampled_from(["call", "back", "flush", "fail"]), st.integers(0, 2), st.integers(0, 3 * HOUR_S)),
    max_size=40,
)


@given(EVENTS)
async def test_whatever_happens_in_between_every_hour_holds_what_was_let_through_less_what_was_given_back(events):
    ledger, expected = Memory(), {}
    tallies = Tallies(ledger, SimpleNamespace(now=lambda: NOON), Metrics())
    kept = [tallies.tally(*call(key_id=f"k{number}")) for number in range(3)]
    for event, number, second in events:
        hour = NOON + second // HOUR_S * HOUR_S
        if event == "call":
            late = max(NOON + second, kept[number].until - HOUR_S)  # an instant never runs back within a tally
            count(kept[number], late)
            hour = late // HOUR_S * HOUR_S
            expected[hour] = expected.get(hour, 0) + 2
        elif event == "back":
            tallies.given_back(*call(key_id=f"k{number}"), NOON + second)
            expected[hour] = expected.get(hour, 0) - 2
        else:
            ledger.fails = event == "fail"
            try:
                await tallies.flush()
            except LedgerUnavailable:
                assert ledger.fails
    ledger.fails = False
    await tallies.flush()
    assert {hour: units for hour, units in ledger.rows.items() if units} == {
        hour: units for hour, units in expected.items() if units
    }
