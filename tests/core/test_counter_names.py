"""Names of counters: each reads back as what it was made of, whatever policy calls its meters and groups."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.core.account import Account, Grant
from gateway.core.credits import GRANT_ID_LENGTH, grant_field, is_grant_field, restored_counters
from gateway.core.keys import ALPHABET
from gateway.core.limit_text import LimitInvalid, parse_limit
from gateway.core.limits import Concurrency, Quota, Rate, limit_field
from gateway.core.overage import meter_of_field, overage_field
from gateway.policyfiles.document import Text
from gateway.policyfiles.faults import FaultLog, Place
from gateway.policyfiles.shapes import check_name

LONGEST_S = 366 * 86_400
_OF_WHICH = r"(?::(?P<group>[^:@]+))?(?:@(?P<key_id>[^:@]+))?"
SHAPES = {
    "quota": re.compile(rf"q:(?P<meter>[^:@]+):(?P<window>period|[0-9]{{1,8}}){_OF_WHICH}"),
    "rate": re.compile(rf"r:(?P<meter>[^:@]+):(?P<window>[0-9]+){_OF_WHICH}"),
    "calls": re.compile(rf"live{_OF_WHICH}"),
    "overage": re.compile(r"q:(?P<meter>[^:@]+):over"),
    "grant": re.compile(rf"q:credit:(?P<grant_id>[0-9A-Za-z]{{{GRANT_ID_LENGTH}}})"),
}
"""Written down apart from the code that makes and reads them: an installation's ledger holds these names."""


def readings(field):
    """All that a name can be read as: its kind, and what it is made of."""
    found = ((kind, shape.fullmatch(field)) for kind, shape in SHAPES.items())
    return [(kind, match.groupdict()) for kind, match in found if match is not None]


def is_name(text):
    return check_name(Text(value=text, place=Place(file="p.yaml"), is_empty=not text), "meter", FaultLog())


words = st.sampled_from(
    ["credit", "over", "period", "live", "q", "r", "p", "v", "o86400", "over-over", "a" * 40, "x_1"]
)
names = (words | st.text(max_size=41) | st.from_regex(r"\A[a-z][a-z0-9_-]{0,39}\Z")).filter(is_name)
groups = st.none() | names
ids = st.text(ALPHABET, min_size=GRANT_ID_LENGTH, max_size=GRANT_ID_LENGTH)
digits = st.text("0123456789", min_size=GRANT_ID_LENGTH, max_size=GRANT_ID_LENGTH)
key_ids = st.none() | ids | digits
windows = st.integers(1, LONGEST_S)


@given(meter=names, window_s=st.none() | windows, group=groups, key_id=key_ids)
@example(meter="credit", window_s=None, group=None, key_id=None)
@example(meter="requests", window_s=86_400, group="over", key_id=None)
@example(meter="credit", window_s=LONGEST_S, group="over", key_id="0" * GRANT_ID_LENGTH)
def test_a_quota_reads_back_as_what_it_counts(meter, window_s, group, key_id):
    quota = Quota(name="any", meter=meter, units=1, window_s=window_s, group=group)
    field = limit_field(quota, key_id)
    window = "period" if window_s is None else str(window_s)
    assert readings(field) == [("quota", {"meter": meter, "window": window, "group": group, "key_id": key_id})]
    assert not is_grant_field(field)
    assert meter_of_field(field) is None


@given(meter=names, window_s=windows, group=groups, key_id=key_ids)
def test_a_rate_reads_back_as_what_it_counts(meter, window_s, group, key_id):
    rate = Rate(name="any", meter=meter, units=1, window_ms=window_s * 1000, burst=1, group=group)
    field = limit_field(rate, key_id)
    made_of = {"meter": meter, "window": str(window_s * 1000), "group": group, "key_id": key_id}
    assert readings(field) == [("rate", made_of)]
    assert not is_grant_field(field)
    assert meter_of_field(field) is None


@given(group=groups, key_id=key_ids)
def test_calls_at_once_read_back_as_what_they_count(group, key_id):
    field = limit_field(Concurrency(name="any", units=1, group=group), key_id)
    assert readings(field) == [("calls", {"group": group, "key_id": key_id})]
    assert not is_grant_field(field)
    assert meter_of_field(field) is None


@given(meter=names)
@example(meter="credit")
def test_overage_reads_back_as_its_meter(meter):
    field = overage_field(meter)
    assert readings(field) == [("overage", {"meter": meter})]
    assert not is_grant_field(field)
    assert meter_of_field(field) == meter


@given(grant_id=ids | digits)
def test_a_grant_reads_back_as_itself(grant_id):
    field = grant_field(grant_id)
    assert readings(field) == [("grant", {"grant_id": grant_id})]
    assert is_grant_field(field)
    assert meter_of_field(field) is None


@given(before=st.text(max_size=5), mark=st.sampled_from(":@|;= "), after=st.text(max_size=5))
def test_what_parts_a_name_cannot_be_in_it(before, mark, after):
    assert not is_name(before + mark + after)


@given(count=st.integers(1, 10**9), unit=st.sampled_from(["second", "minute", "hour", "day"]))
@example(count=366, unit="day")
@example(count=367, unit="day")
@example(count=LONGEST_S, unit="second")
def test_no_sentence_makes_a_window_that_is_written_longer_than_eight_digits(count, unit):
    try:
        limit = parse_limit(f"5 per {count} {unit}s", ())
    except LimitInvalid:
        assume(False)  # noqa: FBT003
    window_s = limit.window_ms // 1000 if isinstance(limit, Rate) else limit.window_s
    assert window_s <= LONGEST_S < 10**8


@pytest.mark.parametrize("field", ["q:credit:period", "q:credit:over", "q:credit:86400", "q:credit:period:over"])
def test_the_counters_of_a_meter_called_credit_are_restored_and_grants_that_ended_are_not(field):
    grant = Grant(grant_id="a" * GRANT_ID_LENGTH, meter="credit", units=9, granted_at=0, expires_at=None)
    account = Account(customer_id="c", user_id="u", version=1, created_at=0, grants=(grant,))
    kept = {field: (0, 5), grant_field(grant.grant_id): (0, 5)}
    assert restored_counters(account, kept | {grant_field("b" * GRANT_ID_LENGTH): (0, 5)}) == kept
