"""What is valid and surprises: quotas that calls in progress can exceed, and edits that start counts again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from gateway.policyfiles import PolicyHolder, compile_policy, find_restarts, read_sources

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parents[2] / "policies"

TEXT = """\
version: 1
default_tier: free
meters:
  tokens: {settle: response header X-Tokens at most 4_000}
tiers:
  free:
    limits:
      - 20_000 tokens per billing period
      - 10 per second burst 20
routes:
  - {match: POST /v1/chat, cost: {tokens: 200}}
  - {match: POST /v1/short, cost: {tokens: 200}, settle: {tokens: at most 300}, group: short}
"""
WORST = 20_000 // 200 * 3800


def cautions(policies: Callable[..., Path], text: str) -> list[tuple[int, str]]:
    compiled = compile_policy(read_sources(policies(api=text)))
    return [(one.line, one.message) for one in compiled.cautions]


def test_a_quota_that_calls_in_progress_can_exceed_is_said_with_the_worst_case_in_numbers(
    policies: Callable[..., Path],
) -> None:
    [(line, message)] = cautions(policies, TEXT)
    assert line == 8
    assert message.startswith(
        f"'20_000 tokens per billing period' in tier 'free' can end {WORST:_} above: 'POST /v1/chat'"
    )
    assert "100 such calls can be in progress at once" in message
    assert "bound them, as with '20 concurrent' (then 76_000 above at most), or reserve more in 'cost'" in message


def test_that_is_what_really_can_happen(policies: Callable[..., Path]) -> None:
    """All that fit are reserved, and then each is settled at the most."""
    used = calls = 0
    while used + 200 <= 20_000:
        used, calls = used + 200, calls + 1
    assert used + calls * (4_000 - 200) - 20_000 == WORST
    assert f"{WORST:_} above" in cautions(policies, TEXT)[0][1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("10 per second burst 20", "20 concurrent", id="calls at once are bounded"),
        pytest.param("cost: {tokens: 200}", "cost: {tokens: 4_000}", id="the most is reserved"),
        pytest.param("{settle: response header X-Tokens at most 4_000}", "{}", id="nothing is settled"),
        pytest.param("20_000 tokens per billing period", "20_000 tokens per minute", id="a rate counts attempts"),
    ],
)
def test_a_quota_that_is_bounded_is_not_warned_of(policies: Callable[..., Path], old: str, new: str) -> None:
    text = TEXT.replace(
        "  - {match: POST /v1/short, cost: {tokens: 200}, settle: {tokens: at most 300}, group: short}\n", ""
    )
    assert old in text
    assert cautions(policies, text.replace(old, new)) == []


def test_a_limit_on_a_group_is_exceeded_by_its_own_routes_only(policies: Callable[..., Path]) -> None:
    text = TEXT.replace("20_000 tokens per billing period", "20_000 tokens per day on short")
    [(_, message)] = cautions(policies, text)
    assert f"can end {100 * 100:_} above: 'POST /v1/short'" in message


def test_a_settlement_without_a_bound_is_said_to_have_none(policies: Callable[..., Path]) -> None:
    [(_, message), (line, of_leaving)] = cautions(policies, TEXT.replace(" at most 4_000", ""))
    assert "can end above by any number" in message
    assert "write 'at most' behind 'settle'" in message
    assert line == 11
    assert of_leaving.startswith("'POST /v1/chat' is settled by a header without a bound: who leaves a stream")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("per billing period", "per day", "keep the old line beside this one until its window has ended"),
        ("tokens", "words", "keep the meter's name and give it a 'title'"),
    ],
    ids=["window", "meter"],
)
def test_an_edit_that_starts_a_count_again_is_said_where_it_is_and_with_what_to_do(
    policies: Callable[..., Path], old: str, new: str, words: str
) -> None:
    before = compile_policy(read_sources(policies(api=TEXT))).policy
    after = compile_policy(read_sources(policies(api=TEXT.replace(old, new))))
    [caution] = find_restarts(before, after.policy, after.limit_places)
    assert (caution.file.endswith("api.yaml"), caution.line) == (True, 8)
    assert "starts at nothing when this edit is in force" in caution.message
    assert words in caution.message


def test_the_tier_that_a_count_was_in_is_said_where_it_has_another_name(policies: Callable[..., Path]) -> None:
    text = TEXT.replace("free", "basic").replace("per billing period", "per day")
    before, after = (compile_policy(read_sources(policies(api=one))) for one in (TEXT, text))
    [caution] = find_restarts(before.policy, after.policy, after.limit_places)
    assert caution.message.startswith("'20_000 tokens per day' in tier 'basic' starts at nothing")
    assert "used of '20_000 tokens per billing period' in tier 'free' in their running window" in caution.message


def test_a_gateway_that_takes_such_an_edit_says_so(policies: Callable[..., Path]) -> None:
    directory = policies(api=TEXT)
    with capture_logs() as at_start:
        holder = PolicyHolder(directory)
    [said] = [one for one in at_start if "cautions" in one]
    assert (said["log_level"], len(said["cautions"])) == ("info", 1), "each worker says it, and nothing has changed"
    (directory / "api.yaml").write_text(TEXT.replace("per billing period", "per day"))
    with capture_logs() as logs:
        holder.reload()
    [said] = [one for one in logs if one["log_level"] == "warning"]
    assert said["running"] == holder.current.policy_hash
    assert "api.yaml:8: '20_000 tokens per day' in tier 'free' starts at nothing" in said["cautions"][0]
    (directory / "api.yaml").write_text(TEXT.replace("per billing period", "per day") + "# a word\n")
    with capture_logs() as logs:
        holder.reload()
    assert [one for one in logs if one["log_level"] == "warning"] == [], "what is the same policy is not said again"


SOLD = """\
version: 1
default_tier: free
tiers:
  free: {limits: [100 requests per billing period]}
  pro: {limits: [1_000 requests per billing period]}
  top: {limits: [1_000_000 requests per billing period]}
plans:
  pro: {tier: pro, price: lookup_key pro}
  top: {tier: top, price: lookup_key top}
routes:
  - {match: /v1/**}
"""
SEATS = SOLD.replace("lookup_key top}", "lookup_key top, seats: 1 to 50}")
BY_SEAT = """\
version: 1
default_tier: free
tiers:
  free: {limits: [100 requests per billing period]}
  team: {limits: [1_000 requests per seat per billing period]}
plans:
  team: {tier: team, price: lookup_key team, seats: 1 to 50}
routes:
  - {match: /v1/**}
"""
ADDED = SOLD.replace("  top: {tier: top, price: lookup_key top}\n", "").replace(
    "lookup_key pro}", "lookup_key pro, add_ons: [x]}"
)
ADDED += "add_ons: {x: {price: lookup_key x, limits: [5_000 requests per billing period]}}\n"
DAILY = SOLD.replace("per billing period", "per day")
TOP, TEAM = "'1_000_000 requests per billing period' in tier 'top' ", "in tier 'team', 50_000 for 50 seats, "
LATE, EARLY = "before its period ends", "as its period begins"
UNPAID, FREE = "before any of it is paid", "a change to it costs 0"
CLOSED = "plan_change: prorate\nswitching: {downgrade: at period end}\n"


@pytest.mark.parametrize(
    ("text", "start", "ways"),
    [
        (SOLD, TOP, [LATE, EARLY]),
        (SOLD + "switching: {downgrade: at period end or now}\n", TOP, [LATE, EARLY]),
        (SOLD + "switching: {downgrade: at period end}\n", TOP, [LATE]),
        (SOLD + "plan_change: reset\nswitching: {downgrade: at period end}\n", TOP, [LATE]),
        (SOLD + "switching: {upgrade: at period end, downgrade: at period end}\n", TOP, []),
        (SOLD + "plan_change: prorate\n", TOP, [EARLY]),
        (SOLD + CLOSED, TOP, []),
        (SOLD + CLOSED.replace("end}", "end, proration: next invoice}"), TOP, [UNPAID]),
        (SOLD + CLOSED.replace("end}", "end, proration: none}"), TOP, [FREE]),
        (SOLD + "switching: {proration: none}\n", TOP, [LATE, FREE]),
        (SOLD + CLOSED.replace("{", "{upgrade: at period end, proration: next invoice, "), TOP, []),
        (SEATS + "switching: {downgrade: at period end}\n", TOP, [LATE]),
        (BY_SEAT, TEAM, [LATE, EARLY]),
        (BY_SEAT + "plan_change: prorate\n", TEAM, [EARLY]),
        (BY_SEAT + CLOSED, TEAM, []),
        (BY_SEAT.replace("1 to 50", "50"), TEAM, []),
        (ADDED, "of the add-on 'x' ", [LATE, EARLY]),
        (ADDED + CLOSED, "of the add-on 'x' ", []),
        (DAILY, "'1_000_000 requests per day' in tier 'top' ", [EARLY]),
        (SOLD.replace("  top: {tier: top, price: lookup_key top}\n", ""), TOP, []),
    ],
    ids=[
        "without a word",
        "the choice",
        "falls at the end",
        "counts from the rise",
        "all at the end",
        "shares",
        "shares and falls at the end",
        "on the next invoice",
        "for nothing",
        "kept and for nothing",
        "all at the end on the next invoice",
        "a tier above with seats that it does not count",
        "seats",
        "seats in shares",
        "seats in shares and falls at the end",
        "one number of seats",
        "an add-on",
        "an add-on in shares",
        "quotas of days",
        "one plan",
    ],
)
def test_each_way_to_a_quota_for_less_than_its_price_is_said(
    policies: Callable[..., Path], text: str, start: str, ways: list[str]
) -> None:
    found = [message for _, message in cautions(policies, text)]
    assert [sum(way in message for message in found) for way in ways] == [1] * len(ways)
    assert len(found) == len(ways)
    assert all(start in message for message in found)


def test_the_price_of_such_a_quota_is_said_in_numbers_and_what_to_write_with_it(policies: Callable[..., Path]) -> None:
    [(line, late), (_, early)] = cautions(policies, SOLD)
    assert line == 9
    assert late.startswith(f"{TOP}is had whole for 20 minutes' price, 1/2_160 of 30 days'")
    assert "'plan_change: prorate'" in late
    assert "'switching: {upgrade: at period end}'" in late
    assert "'switching: {downgrade: at period end}'" in early


def test_the_policy_that_comes_with_tiergate_leaves_no_such_way() -> None:
    assert compile_policy(read_sources(SHIPPED)).cautions == ()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("none: top", "'none' gives the tier 'top' for nothing to everybody who never bought anything"),
        (
            "incomplete: pro",
            "whose first payment is not made, and the plan 'pro' sells 'pro': write 'free' or 'refuse'",
        ),
        ("incomplete_expired: pro", "whose first payment was never made"),
        ("canceled: {keep: 3d, then: pro}", "whose subscription has ended"),
        ("customer_deleted: pro", "whom Stripe does not have any more"),
        ("past_due: {keep: 7d, then: pro}", "whose renewal is not paid"),
        ("unpaid: top", "whose payments have failed"),
        ("paused: pro", "whose trial ended"),
        ("unreadable: {keep: 1d, then: pro}", "is not understood"),
        ("unpaid: free", None),
        ("none: refuse", None),
        ("past_due: {keep: 7d}", None),
        ("disputed: top", None),
        ("refunded: top", None),
        ("blocked: top", None),
        ("trialing: pro", None),
    ],
)
def test_a_tier_that_is_sold_and_had_for_nothing_is_said(
    policies: Callable[..., Path], line: str, words: str | None
) -> None:
    found = cautions(policies, f"{SOLD}plan_change: prorate\nlifecycle:\n  {line}\n")
    found = [one for one in found if "for nothing" in one[1]]
    assert [at for at, _ in found] == ([] if words is None else [14])
    assert all(words in message for _, message in found if words is not None)


def test_a_fallback_between_what_is_free_and_what_is_sold_is_no_gift(policies: Callable[..., Path]) -> None:
    text = SOLD.replace("  pro: {tier: pro, price: lookup_key pro}\n", "")
    assert [one for one in cautions(policies, f"{text}lifecycle: {{unpaid: pro}}\n") if "for nothing" in one[1]] == []


def test_without_a_default_tier_every_tier_that_is_sold_is_a_gift(policies: Callable[..., Path]) -> None:
    text = SOLD.replace("default_tier: free\n", "") + "lifecycle: {none: pro}\n"
    [message] = [message for _, message in cautions(policies, text) if "for nothing" in message]
    assert message.endswith("write 'refuse' unless that is meant")


REPEATED = """\
version: 1
default_tier: free
meters:
  tokens: {settle: response header X-Tokens at most 10}
tiers:
  free: {limits: [10 per second]}
routes:
  - match: GET /v1/read
  - {match: POST /v1/draw, cost: 2}
  - {match: POST /v1/chat, cost: {tokens: 10}}
"""


@pytest.mark.parametrize(
    ("text", "line", "calls"),
    [
        (REPEATED + "idempotency: on\n", 11, "4 calls"),
        (REPEATED + "idempotency: {repeats: 9}\n", 11, "10 calls"),
        (REPEATED.replace("cost: 2}", "idempotency: {repeats: 1}}"), 9, "2 calls"),
        (REPEATED.replace("cost: 2}", "idempotency: off}") + "idempotency: on\n", None, None),
        (REPEATED + "idempotency: off\n", None, None),
        (REPEATED, None, None),
    ],
    ids=["on", "in numbers", "of a route", "turned off where it would hold", "off", "without a word"],
)
def test_that_one_charge_buys_calls_of_several_bodies_is_said_where_it_is_turned_on(
    policies: Callable[..., Path], text: str, line: int | None, calls: str | None
) -> None:
    found = cautions(policies, text)
    assert [at for at, _ in found] == ([] if line is None else [line])
    if calls is not None:
        assert f"one charge under an Idempotency-Key pays for {calls}, whose bodies may differ" in found[0][1]


TIERED = """\
version: 1
default_tier: free
tiers: {free: {limits: unlimited}, pro: {limits: unlimited}}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
  pro-yearly: {tier: pro, price: lookup_key pro_yearly}
routes: [{match: "* /**"}]
"""


YEARLY = "  pro-yearly: {tier: pro, price: lookup_key pro_yearly}\n"


@pytest.mark.parametrize(
    ("new", "line", "words"),
    [
        (TIERED.replace("pro-yearly:", "year:"), 6, "who pays for it keeps it"),
        (
            TIERED.replace(YEARLY, ""),
            5,
            "falls to the tier 'free' 24 hours after that (`lifecycle: unreadable`)",
        ),
    ],
    ids=["called otherwise", "gone"],
)
def test_a_gateway_that_takes_a_plan_away_says_what_becomes_of_who_pays_for_it(
    policies: Callable[..., Path], new: str, line: int, words: str
) -> None:
    directory = policies(api=TIERED)
    holder = PolicyHolder(directory)
    (directory / "api.yaml").write_text(new)
    with capture_logs() as logs:
        holder.reload()
    [said] = [one for one in logs if one["log_level"] == "warning"]
    [caution] = said["cautions"]
    assert f"api.yaml:{line}: the plan 'pro-yearly'" in caution
    assert words in caution


@pytest.mark.parametrize(
    ("lines", "at"),
    [
        (["disputed: refuse"], 14),
        (["disputed: {keep: 2d, then: free}", "dispute_lost: keep"], 15),
        (["disputed: refuse", "dispute_lost: free"], None),
        (["disputed: refuse", "dispute_lost: {keep: 3d}"], None),
        (["disputed: flag"], None),
        (["dispute_lost: refuse"], None),
    ],
    ids=["nothing is said", "kept", "lowered too", "lowered later", "only flagged", "only if it is lost"],
)
def test_a_dispute_that_does_less_once_it_is_lost_is_said(
    policies: Callable[..., Path], lines: list[str], at: int | None
) -> None:
    written = "".join(f"  {line}\n" for line in lines)
    found = cautions(policies, f"{SOLD}plan_change: prorate\nlifecycle:\n{written}")
    assert [line for line, message in found if "'dispute_lost'" in message] == ([] if at is None else [at])
