from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.limit_text import LimitInvalid, limit_words, parse_duration_s, parse_limit
from gateway.core.limits import Concurrency, Limit, Quota, Rate, limit_field

METERS = {"requests": None, "tokens": None}


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("2 per second burst 10", Rate(name="second", meter="requests", units=2, window_ms=1000, burst=10)),
        ("2 per second", Rate(name="second", meter="requests", units=2, window_ms=1000, burst=2)),
        ("60 per minute", Rate(name="minute", meter="requests", units=60, window_ms=60_000, burst=60)),
        ("6 per 10 seconds", Rate(name="10-seconds", meter="requests", units=6, window_ms=10_000, burst=6)),
        ("9 tokens per minute", Rate(name="tokens-minute", meter="tokens", units=9, window_ms=60_000, burst=9)),
        ("90 per hour burst 5", Rate(name="hour-rate", meter="requests", units=90, window_ms=3_600_000, burst=5)),
        ("500 per day", Quota(name="day", meter="requests", units=500, window_s=86_400)),
        ("10_000 tokens per hour", Quota(name="tokens-hour", meter="tokens", units=10_000, window_s=3600)),
        ("1 per 6 hours", Quota(name="6-hours", meter="requests", units=1, window_s=21_600)),
        ("1 per 24 hours", Quota(name="day", meter="requests", units=1, window_s=86_400)),
        (
            "1_000  requests per   billing period",
            Quota(name="period", meter="requests", units=1000, window_s=None),
        ),
        (
            "5 per minute on renders",
            Rate(name="renders-minute", meter="requests", units=5, window_ms=60_000, burst=5, group="renders"),
        ),
        (
            "100 tokens per day on renders",
            Quota(name="renders-tokens-day", meter="tokens", units=100, window_s=86_400, group="renders"),
        ),
        ("3 concurrent on  renders", Concurrency(name="renders-concurrent", units=3, group="renders")),
        ("20 concurrent", Concurrency(name="concurrent", units=20)),
        ("1_000 concurrent  requests", Concurrency(name="concurrent", units=1000)),
        ("5 tokens per billing period", Quota(name="tokens-period", meter="tokens", units=5, window_s=None)),
    ],
)
def test_a_sentence_is_a_limit(text: str, limit: Limit) -> None:
    assert parse_limit(text, METERS) == limit


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "is not a limit"),
        ("per second", "is not a limit"),
        ("5 per", "is not a limit"),
        ("5 per month", "billing period"),
        ("5 per week", "billing period"),
        ("1e3 per day", "whole number"),
        ("-1 per day", "whole number"),
        ("٣ per day", "whole number"),
        ("9007199254740992 per day", "too large"),
        ("1 credits per day", "no meter 'credits'"),
        ("1 per fortnight", "not a window"),
        ("1 per 2 3 days", "not a window"),
        ("5 concurrent tokens", "write it like '20 concurrent'"),
        ("5 concurrent per second", "write it like '20 concurrent'"),
        ("0 concurrent", "at least 1"),
        ("many concurrent", "whole number"),
    ],
)
def test_what_is_not_a_limit_says_why(text: str, because: str) -> None:
    with pytest.raises(LimitInvalid, match=because):
        parse_limit(text, METERS)


def test_the_largest_burst_is_the_last_that_counts_exactly() -> None:
    largest = (2**53 - 1) // 1000
    assert isinstance(parse_limit(f"{largest} per second", METERS), Rate)
    with pytest.raises(LimitInvalid, match="too large to count exactly"):
        parse_limit(f"{largest + 1} per second", METERS)


windows = st.sampled_from([1, 2, 59, 60, 90, 3599, 3600, 7200, 86_400, 90_000, 31 * 86_400])
limit_texts = (
    st.builds(
        lambda units, meter, window_s, extra: f"{units} {meter} per {window_s} seconds burst {units + extra}",
        st.integers(1, 10**6),
        st.sampled_from(sorted(METERS)),
        windows,
        st.integers(-5, 5),
    )
    | st.builds(
        lambda units, meter, window: f"{units} {meter} per {window}",
        st.integers(0, 2**53 - 1),
        st.sampled_from(sorted(METERS)),
        st.sampled_from(["hour", "3 hours", "day", "25 hours", "billing period"]),
    )
    | st.builds(lambda units: f"{units} concurrent requests", st.integers(0, 2**53 - 1))
)


@given(limit_texts, st.sampled_from(["", " on renders", " on on", " on per_day"]))
def test_the_words_of_a_limit_read_back_as_the_same_limit(text: str, group: str) -> None:
    try:
        limit = parse_limit(text + group, METERS)
    except LimitInvalid:
        return
    assert parse_limit(limit_words(limit), METERS) == limit


@given(limit_texts, limit_texts)
def test_limits_with_different_counters_have_different_names(one: str, other: str) -> None:
    try:
        limits = parse_limit(one, METERS), parse_limit(other, METERS)
    except LimitInvalid:
        return
    same_name = limits[0].name == limits[1].name
    assert same_name == (limit_field(limits[0]) == limit_field(limits[1]))


@given(st.text(max_size=60))
def test_any_text_is_a_limit_or_refused(text: str) -> None:
    with contextlib.suppress(LimitInvalid):
        assert parse_limit(text, METERS).units >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 604_800), ("24h", 86_400), ("30m", 1800), ("90s", 90), ("7 days", 604_800), ("1 hour", 3600)],
)
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 weeks", "1.5h", "-1d", "7dd", "1 month"])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(LimitInvalid, match="not a duration"):
        parse_duration_s(text)


def test_a_group_of_routes_is_looked_up_where_groups_are_known() -> None:
    groups = {"renders", "exports"}
    assert parse_limit("5 per day on renders", METERS, groups) == parse_limit("5 per day on renders", METERS)
    with pytest.raises(LimitInvalid, match=r"no group of routes 'render' \(there are: exports, renders\)") as refused:
        parse_limit("5 per day on render", METERS, groups)
    assert refused.value.suggestion == "renders"
    with pytest.raises(LimitInvalid, match="no route has a 'group'"):
        parse_limit("5 concurrent on renders", METERS, ())


def test_the_counter_of_a_group_is_its_own_and_a_keys_in_it_another() -> None:
    texts = ("5 per day", "5 per day on a", "9 per day on a", "5 per day on b", "5 concurrent", "5 concurrent on a")
    limits = [parse_limit(text, METERS) for text in texts]
    assert [limit_field(limit) for limit in limits] == [
        "q:requests:86400",
        "q:requests:86400:a",
        "q:requests:86400:a",
        "q:requests:86400:b",
        "live",
        "live:a",
    ]
    assert limit_field(limits[1], "key_1") == "q:requests:86400:a@key_1"
    assert limit_field(limits[5], "key_1") == "live:a@key_1"
