"""What buyers of metered APIs complain about elsewhere, played against a gateway of two workers: none of it happens.

Each test names its complaint.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.cli.house import House, temporary_house_directory
from tests.journeys.buyers import DAY_S, Buyer, Street, until

pytestmark = [pytest.mark.journey, pytest.mark.slow]

WORKERS = 2
FREE, PRO, RENDERS = 12, 40, 3
POLICY = f"""\
version: 1
default_tier: free
tiers:
  free: {{limits: [{FREE} requests per billing period, {RENDERS} requests per day on renders]}}
  pro: {{limits: [{PRO} requests per billing period, {PRO} requests per day]}}
  enterprise: {{limits: [1_000 requests per billing period]}}
plans:
  pro-monthly: {{tier: pro, price: lookup_key pro_monthly}}
  enterprise-monthly: {{tier: enterprise, price: lookup_key enterprise_monthly}}
routes:
  - {{match: GET /v1/stream, group: renders}}
  - {{match: GET /v1/slow, cost: 7}}
  - match: "* /v1/**"
"""


@pytest.fixture(scope="module")
def street() -> Iterator[Street]:
    with temporary_house_directory() as directory:
        policies = directory / "policies"
        policies.mkdir()
        house = House(directory, policy_dir=policies, workers=WORKERS)
        edit(house, POLICY)
        house.start()
        made = Street(house)
        made.advance_to((made.now() // DAY_S + 1) * DAY_S + DAY_S / 2)  # no quota of a day starts again in mid-test
        try:
            yield made
        finally:
            made.http.close()
            house.stop()


def edit(house: House, text: str) -> None:
    beside = house.policy_dir / ".policy"
    beside.write_text(text)
    beside.replace(house.policy_dir / "policy.yaml")


def at_once(buyer: Buyer, count: int, path: str = "/v1/echo"):
    """So many calls at the same moment, each on a connection of its own choice."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: buyer.call(path), range(count)))


def admitted(answers):
    assert {answer.status_code for answer in answers} <= {200, 429}
    return sum(answer.status_code == 200 for answer in answers)


def test_a_used_up_quota_is_429_and_says_when_to_come_back_and_how_to_get_more(street):
    """The complaint: a used-up quota is answered 403, without Retry-After, like a key that may not call at all."""
    buyer = street.newcomer()
    buyer.use_up()
    refused = buyer.call()
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
    assert abs(int(refused.headers["retry-after"]) - (buyer.period()["window_ends_at"] - street.now())) < 60
    assert refused.json()["links"]["upgrade"]


def test_the_count_of_a_period_of_31_days_is_there_to_its_last_hour_and_starts_again_with_the_invoice(street):
    """The complaint: the counter of a "month" is gone before the 31st, because one month is taken for 30 days."""
    buyer = street.subscriber("pro-monthly")
    while (row := buyer.period())["window_ends_at"] - row["window_starts_at"] != 31 * DAY_S:
        street.advance_to(row["window_ends_at"] + 1)
    assert buyer.use_up() == PRO
    street.advance_to(row["window_starts_at"] + 30 * DAY_S + 20 * 3600)
    assert buyer.quota() == (PRO, PRO, 0)
    assert buyer.call().status_code == 429
    street.advance_to(row["window_ends_at"] + 1)
    subscription = buyer.ask("GET", "/api/v1/subscription").json()
    assert subscription["period_starts_at"] == row["window_ends_at"] == buyer.period()["window_starts_at"]
    assert buyer.use_up() == PRO


def test_a_renewal_starts_the_count_again_once_and_no_other_invoice_does(street):
    """The complaint: the quota is not reset after paying, or it is reset by any invoice that is paid."""
    buyer = street.subscriber("pro-monthly")
    buyer.calls(5)
    street.advance(DAY_S)
    buyer.change_in_portal("enterprise-monthly")
    assert buyer.quota()[0] == 5, "the invoice of the upgrade was paid at once, and is no new period"
    street.advance_to(buyer.period()["window_ends_at"] + 2 * 3600)
    assert buyer.quota()[0] == 0, "a new period"
    buyer.calls(2)
    street.house.resend_events_reversed_twice()
    street.deliver()
    assert buyer.quota()[0] == 2, "that the same payment is told again, and in another order, is no news"


def test_an_edit_of_the_policy_moves_the_limit_and_keeps_the_count(street):
    """The complaint: counters are wrong after the policy was edited."""
    buyer, probe = street.newcomer(), street.newcomer()
    assert buyer.use_up() == FREE
    moved = POLICY.replace(f"free: {{limits: [{FREE} requests per billing period, ", "free: {limits: [", 1)
    moved = moved.replace("per day on renders]", "per day on renders, 15 requests per billing period]", 1)
    try:
        edit(street.house, moved)
        until(lambda: all_workers_say(street, probe, limit=15))
        assert buyer.quota() == (FREE, 15, 3)
        assert admitted(at_once(buyer, 10)) == 3
    finally:
        edit(street.house, POLICY)
        until(lambda: all_workers_say(street, probe, limit=FREE))
    assert buyer.quota() == (15, FREE, 0)
    assert buyer.call().status_code == 429


def all_workers_say(street: Street, probe: Buyer, *, limit: int) -> bool:
    """Ask over new connections, until each worker has answered."""
    seen: dict[str, int] = {}
    while len(seen) < WORKERS:
        other = Street(street.house)
        again = Buyer(other, probe.customer_id, probe.key)
        worker = worker_of(again.call())
        seen[worker] = again.period()["limit"]
        other.http.close()
    return set(seen.values()) == {limit}


def worker_of(answer):
    """A decision id starts with the mark of its worker."""
    return answer.headers["tiergate-decision"][4:12]


def test_a_limit_on_some_routes_and_one_on_the_account_are_two_counts_and_each_is_of_one_customer(street):
    """The complaint: the counter of a route and that of the customer are taken for one another."""
    buyer, other = street.newcomer(), street.newcomer()
    assert admitted([buyer.call("/v1/stream?n=1") for _ in range(RENDERS + 1)]) == RENDERS
    assert buyer.call().status_code == 200, "another route has not used that up"
    assert buyer.quota()[0] == RENDERS + 1, "and the account counts both"
    assert buyer.use_up() == FREE - RENDERS - 1
    assert (other.quota()[0], other.call("/v1/stream?n=1").status_code) == (0, 200)


def test_a_limit_is_not_multiplied_by_the_number_of_workers(street):
    """The complaint: with n workers, n times the limit is let in."""
    buyer = street.subscriber("pro-monthly")
    answers = []
    while len({worker_of(answer) for answer in answers}) < WORKERS or answers[-1].status_code == 200:
        other = Street(street.house)
        answers += [Buyer(other, buyer.customer_id, buyer.key).call() for _ in range(5)]
        other.http.close()
    assert admitted(answers) == PRO


def test_calls_at_the_same_moment_end_exactly_at_the_limit_and_a_refused_one_takes_nothing(street):
    """The complaint: calls that arrive at once race for the counter in Redis, and more are let in or counted."""
    buyer = street.subscriber("pro-monthly")
    assert admitted([answer for _ in range(4) for answer in at_once(buyer, 20)]) == PRO
    rows = buyer.ask("GET", "/api/v1/usage").json()["limits"]
    assert {row["name"]: row["used"] for row in rows} == {"period": PRO, "day": PRO}


def test_a_call_is_paid_before_it_is_forwarded_so_no_budget_is_overrun(street):
    """The complaint: calls are charged after the fact, so those in progress run over the budget."""
    buyer = street.subscriber("pro-monthly")
    answers = at_once(buyer, 20, "/v1/slow?seconds=0.5")
    assert admitted(answers) == PRO // 7
    assert buyer.quota() == (PRO // 7 * 7, PRO, PRO - PRO // 7 * 7)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"quota-exceeded"}
