"""A plan is changed at Stripe in the middle of a period: what the next calls and `GET usage` then say.

Everything is real: the gateway's process, the sandbox's portal and API, webhooks that are signed and delivered,
cache and ledger. One house for each word of `plan_change`; its clock only goes forward.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.cli.house import House, temporary_house_directory
from tests.journeys.buyers import DAY_S, Street, until

pytestmark = [pytest.mark.journey, pytest.mark.slow]

FREE, PRO, ENTERPRISE = 4, 10, 20
POLICY = f"""\
version: 1
default_tier: free
plan_change: WORD
tiers:
  free: {{limits: [{FREE} requests per billing period]}}
  pro: {{limits: [{PRO} requests per billing period]}}
  enterprise: {{limits: [{ENTERPRISE} requests per billing period]}}
plans:
  pro-monthly: {{tier: pro, price: lookup_key pro_monthly}}
  pro-yearly: {{tier: pro, price: lookup_key pro_yearly}}
  enterprise-monthly: {{tier: enterprise, price: lookup_key enterprise_monthly}}
routes:
  - match: "* /v1/**"
"""


@pytest.fixture(scope="module", params=["keep", "prorate", "reset"])
def word(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def street(word: str) -> Iterator[Street]:
    with temporary_house_directory() as directory:
        policies = directory / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(POLICY.replace("WORD", word))
        house = House(directory, policy_dir=policies)
        house.start()
        made = Street(house)
        try:
            yield made
        finally:
            made.http.close()
            house.stop()


def share(row, *changes):
    """The units of a prorated period: each plan's, for as long as it was in force. `changes`: (until, units)."""
    starts_at, ends_at = row["window_starts_at"], row["window_ends_at"]
    bounds = [starts_at, *(int(at) for at, _ in changes[:-1]), ends_at]
    total = sum(units * (bounds[n + 1] - bounds[n]) for n, (_, units) in enumerate(changes))
    return total // (ends_at - starts_at)


def changed(street, change, plan_id):
    """Change the plan; returns the instants between which the gateway has seen it."""
    before = street.now()
    change(plan_id)
    return before, street.now()


def test_whoever_was_refused_and_goes_up_is_let_in_by_the_next_call_and_has_what_policy_promises(street, word):
    buyer = street.subscriber("pro-monthly")
    assert buyer.use_up() == PRO
    street.advance(14 * DAY_S)
    seen = changed(street, buyer.change_in_portal, "enterprise-monthly")
    row = buyer.period()
    limits = [share(row, (at, PRO), (None, ENTERPRISE)) for at in seen] if word == "prorate" else [ENTERPRISE]
    assert row["limit"] in limits
    assert (row["used"], row["remaining"]) == ((0, ENTERPRISE) if word == "reset" else (PRO, row["limit"] - PRO))
    first = buyer.call()
    assert first.status_code == 200, "the first call after the change, not one a moment later"
    assert f'"period";r={row["remaining"] - 1};' in first.headers["ratelimit"]
    assert buyer.use_up() == row["remaining"] - 1
    assert buyer.quota() == (row["limit"], row["limit"], 0)
    street.advance_to(row["window_ends_at"] + 1)
    assert buyer.quota() == (0, ENTERPRISE, ENTERPRISE), "the next period is whole"
    assert buyer.use_up() == ENTERPRISE


def test_a_first_purchase_lets_in_at_once_whoever_had_used_up_the_free_quota(street):
    buyer = street.newcomer()
    assert buyer.use_up() == FREE
    street.advance(3600)
    buyer.subscribe("pro-monthly")
    assert buyer.quota() == (0, PRO, PRO), "the period was paid for, so it is a whole one"
    assert buyer.use_up() == PRO


def test_whoever_goes_up_with_a_part_used_keeps_that_part_unless_policy_starts_afresh(street, word):
    buyer = street.subscriber("pro-monthly")
    buyer.calls(6)
    street.advance(10 * DAY_S)
    changed(street, buyer.change_at_stripe, "enterprise-monthly")
    used, limit, remaining = buyer.quota()
    assert used == (0 if word == "reset" else 6)
    assert remaining == limit - used
    assert buyer.use_up() == remaining


def test_whoever_goes_down_below_what_is_used_waits_for_the_next_period_and_owes_nothing(street, word):
    buyer = street.subscriber("enterprise-monthly")
    buyer.calls(18)
    street.advance(5 * DAY_S)
    seen = changed(street, buyer.change_at_stripe, "pro-monthly")
    row = buyer.period()
    limits = [share(row, (at, ENTERPRISE), (None, PRO)) for at in seen] if word == "prorate" else [PRO]
    assert row["limit"] in limits
    assert (row["used"], row["remaining"]) == (18, 0), "used stays what was used, and nothing is below zero"
    refused = buyer.call()
    assert (refused.status_code, refused.json()["code"]) == (429, "quota-exceeded")
    assert abs(int(refused.headers["retry-after"]) - (row["window_ends_at"] - street.now())) < 60
    assert '"period";r=0;' in refused.headers["ratelimit"]
    street.advance_to(row["window_ends_at"] - 3600)
    assert buyer.call().status_code == 429, "the whole window long"
    street.advance_to(row["window_ends_at"] + 1)
    assert buyer.use_up() == PRO, "the next period is whole, without a debt of this one"


def test_going_to_and_fro_wins_no_more_than_each_tiers_quota_once(street, word):
    buyer = street.subscriber("pro-monthly")
    admitted = buyer.use_up()
    first = buyer.period()
    for _ in range(2):
        for plan_id in ("enterprise-monthly", "pro-monthly"):
            street.advance(2 * DAY_S)
            changed(street, buyer.change_in_portal, plan_id)
            admitted += buyer.use_up()
    assert buyer.period()["window_ends_at"] == first["window_ends_at"], "all in one period"
    most = {"keep": ENTERPRISE, "prorate": ENTERPRISE - 1, "reset": PRO + ENTERPRISE}[word]
    assert admitted <= most
    if word != "prorate":
        assert admitted == most, "and no less than that"
    assert buyer.quota()[2] == 0


def test_several_changes_in_one_period_add_up_to_what_policy_says(street, word):
    buyer = street.subscriber("enterprise-monthly")
    buyer.calls(3)
    seen = []
    for plan_id in ("pro-monthly", "enterprise-monthly", "pro-monthly"):
        street.advance(3 * DAY_S)
        seen.append(changed(street, buyer.change_at_stripe, plan_id))
    row = buyer.period()
    assert row["used"] == 3, "no tier was new in this period, so no count starts afresh"
    if word != "prorate":
        assert row["limit"] == PRO
        return
    possible = {
        share(row, (a, ENTERPRISE), (b, PRO), (c, ENTERPRISE), (None, PRO))
        for a in seen[0]
        for b in seen[1]
        for c in seen[2]
    }
    assert row["limit"] in possible
    assert buyer.use_up() == row["limit"] - 3


def test_a_yearly_plan_of_the_same_tier_is_no_way_to_a_fresh_count(street):
    buyer = street.subscriber("pro-monthly")
    buyer.use_up()
    before, counted = buyer.period(), ("used", "limit", "remaining", "window_starts_at", "window_ends_at")
    for plan_id in ("pro-yearly", "pro-monthly", "pro-yearly"):
        street.advance(DAY_S)
        changed(street, buyer.change_in_portal, plan_id)
        assert buyer.call().status_code == 429
        after = buyer.period()
        assert {name: after[name] for name in counted} == {name: before[name] for name in counted}


def test_a_change_survives_the_loss_of_the_cache(street, word):
    buyer = street.subscriber("pro-monthly")
    buyer.calls(7)
    street.advance(6 * DAY_S)
    changed(street, buyer.change_in_portal, "enterprise-monthly")
    buyer.calls(2)
    before = buyer.quota()
    assert before[0] == (2 if word == "reset" else 9)
    street.lose_cache(buyer)
    until(lambda: buyer.quota() == before)
    street.advance(2 * DAY_S)
    changed(street, buyer.change_in_portal, "pro-monthly")
    used, limit, remaining = buyer.quota()
    assert used == before[0], "a loss and a change together give nothing back either"
    street.lose_cache(buyer)
    assert buyer.use_up() == remaining == max(0, limit - used)


def test_a_change_that_is_made_while_the_cache_is_lost_holds_afterwards(street, word):
    buyer = street.subscriber("pro-monthly")
    assert buyer.use_up() == PRO
    street.advance(DAY_S)
    street.lose_cache(buyer)
    changed(street, buyer.change_in_portal, "enterprise-monthly")
    street.lose_cache(buyer)
    used, limit, remaining = buyer.quota()
    assert (used, remaining) == ((0, limit) if word == "reset" else (PRO, limit - PRO))
    assert buyer.use_up() == remaining
