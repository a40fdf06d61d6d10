"""Limits as sentences, both ways: `2 per second burst 10`, `1_000 requests per billing period`.

    <units> [<meter>] [per seat] per [<n>] <second|minute|hour|day>[s] [burst <units>]
    <units> [<meter>] [per seat] per billing period
    <calls> concurrent [requests]

Each may end in `on <group>`, and is then for the routes of that group only. Units and burst of a
limit per seat are those of one seat.

Windows shorter than an hour are rates, from an hour on they are quotas; `burst` makes a rate
of any window. Hours and days are aligned to UTC. Without `burst`, a rate may spend one
window's units at once: `60 per minute` means a burst of 60. The meter is `requests` unless named.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.core.limits import Concurrency, Limit, Quota, Rate
from gateway.core.nearest import nearest_name

if TYPE_CHECKING:
    from collections.abc import Collection

REQUESTS = "requests"
"""The meter that every policy has: one unit a request unless the route says otherwise."""

EXACT_BELOW = 2**53
"""The cache's scripts count in doubles, which are exact below this."""

_UNIT_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_SHORT_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_QUOTA_FROM_S = 3600
_LONGEST_WINDOW_S = 366 * 86_400
_SLOWEST_REFILL_MS = 86_400_000

_SENTENCE = re.compile(
    r"(?P<units>[^\s]+)(?: (?P<meter>(?!per )[^\s]+))?(?P<per_seat> per seat)? per (?P<window>.+?)"
    r"(?: burst (?P<burst>[^\s]+))?"
)
_AT_ONCE = re.compile(r"(?P<calls>[^\s]+) concurrent(?: (?P<what>[^\s]+))?")
_OF_GROUP = re.compile(r"(?P<limit>.+) on (?P<group>[^\s]+)")
_NUMBER = re.compile(r"[0-9]+(?:_[0-9]+)*")
_DURATION = re.compile(r"([0-9]{1,9}) ?([a-z]+)")
_EXAMPLES = "'2 per second burst 10', '500 per day', '1_000 requests per billing period' or '20 concurrent'"


class LimitInvalid(ValueError):
    """Not a limit that can be kept. `str()` says why; `suggestion` is the nearest right word, if any."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


def parse_limit(text: str, meters: Collection[str], groups: Collection[str] | None = None) -> Limit:
    """Read one limit.

    Args:
        text: The sentence. Runs of spaces count as one.
        meters: Names of the meters there are; `requests` is always one.
        groups: Names of the groups of routes there are. None: not known yet, any will do.

    Raises:
        LimitInvalid: Not in the grammar, or a number that the charge script cannot honour.
    """
    sentence = " ".join(text.split())
    match = _OF_GROUP.fullmatch(sentence)
    if match is None:
        return _parse(sentence, meters)
    group = match["group"]
    if groups is not None:
        check_group(group, groups)
    limit = _parse(match["limit"], meters)
    return replace(limit, name=f"{group}-{limit.name}", group=group)


def parse_key_limit(text: str, meters: Collection[str], groups: Collection[str]) -> Limit:
    """Read a limit of a key's own, which has no seats.

    Raises:
        LimitInvalid: As `parse_limit`; or it is per seat.
    """
    limit = parse_limit(text, meters, groups)
    if not isinstance(limit, Concurrency) and limit.per_seat:
        raise LimitInvalid("a key has no seats: only the limits of a tier can be 'per seat'")
    return limit


def check_group(name: str, groups: Collection[str]) -> None:
    """Refuse a group of routes that is not there.

    Raises:
        LimitInvalid: With the nearest name.
    """
    if name not in groups:
        known = f"there are: {', '.join(sorted(groups))}" if groups else "no route has a 'group'"
        raise LimitInvalid(f"there is no group of routes {_quote(name)} ({known})", nearest_name(name, groups))


def _parse(sentence: str, meters: Collection[str]) -> Limit:
    if "concurrent" in sentence.split():
        return _concurrency(sentence)
    match = _SENTENCE.fullmatch(sentence)
    if match is None:
        raise LimitInvalid(f"{_quote(sentence)} is not a limit: write it like {_EXAMPLES}")
    meter = _known_meter(match["meter"] or REQUESTS, meters)
    units = _parse_units(match["units"])
    burst = None if match["burst"] is None else _parse_units(match["burst"])
    window_s = _parse_window(match["window"])
    per_seat = match["per_seat"] is not None
    if burst is not None or (window_s is not None and window_s < _QUOTA_FROM_S):
        return replace(_rate(meter, units, window_s, burst), per_seat=per_seat)
    return Quota(name=_name(meter, window_s), meter=meter, units=units, window_s=window_s, per_seat=per_seat)


def limit_words(limit: Limit) -> str:
    """The sentence for a limit; `parse_limit` reads it back to the same value."""
    group = "" if limit.group is None else f" on {limit.group}"
    if isinstance(limit, Concurrency):
        return f"{limit.units:_} concurrent{group}"
    window_s = limit.window_ms // 1000 if isinstance(limit, Rate) else limit.window_s
    seat = " per seat" if limit.per_seat else ""
    sentence = f"{limit.units:_} {limit.meter}{seat} per {_window_words(window_s)}"
    return f"{sentence} burst {limit.burst:_}{group}" if isinstance(limit, Rate) else f"{sentence}{group}"


def parse_duration_s(text: str) -> int:
    """Seconds of `7d`, `24h`, `30m`, `90s`, `7 days`.

    Raises:
        LimitInvalid: Anything else.
    """
    match = _DURATION.fullmatch(" ".join(text.split()))
    if match is not None:
        unit_s = _SHORT_UNIT_S.get(match[2]) or _UNIT_S.get(match[2].removesuffix("s"))
        if unit_s is not None:
            return int(match[1]) * unit_s
    raise LimitInvalid(f"{_quote(text)} is not a duration: write it like 7d, 24h, 30m or 90s")


def _concurrency(sentence: str) -> Concurrency:
    match = _AT_ONCE.fullmatch(sentence)
    if sentence.endswith(" per seat"):
        raise LimitInvalid(
            "calls at once are not counted per seat: only rates and quotas are", sentence.removesuffix(" per seat")
        )
    if match is None or match["what"] not in {None, REQUESTS}:
        right = None if match is None else f"{match['calls']} concurrent"
        raise LimitInvalid(
            f"{_quote(sentence)} is not a limit: what is in progress at once is calls, whatever they cost;"
            " write it like '20 concurrent'",
            right,
        )
    calls = _parse_units(match["calls"])
    if calls < 1:
        raise LimitInvalid("the calls in progress at once must be at least 1, or nothing would ever pass")
    return Concurrency(name="concurrent", units=calls)


def _rate(meter: str, units: int, window_s: int | None, burst: int | None) -> Rate:
    if window_s is None:
        raise LimitInvalid("a billing period has no burst: it is a quota; drop 'burst' or name a pace per second")
    window_ms = window_s * 1000
    burst = units if burst is None else burst
    if units < 1 or burst < 1:
        raise LimitInvalid("a rate and its burst must be at least 1, or nothing would ever pass")
    if burst * window_ms >= EXACT_BELOW:
        largest = (EXACT_BELOW - 1) // window_ms
        raise LimitInvalid(f"a burst of {burst:_} is too large to count exactly: at most {largest:_} in this window")
    if burst * window_ms > units * _SLOWEST_REFILL_MS:
        raise LimitInvalid("this burst takes more than a day to refill: use a quota ('500 per day') instead")
    return Rate(name=_name(meter, window_s, pace=True), meter=meter, units=units, window_ms=window_ms, burst=burst)


def _parse_units(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        plain = text.replace(",", "").replace(".", "").replace("'", "")
        right = (
            f"{int(plain):_}" if plain.isascii() and plain.isdigit() and len(plain) < len(str(EXACT_BELOW)) else None
        )
        raise LimitInvalid(f"{_quote(text)} is not a whole number: write digits like 10_000", right)
    digits = text.replace("_", "").lstrip("0") or "0"
    if len(digits) > len(str(EXACT_BELOW)) or int(digits) >= EXACT_BELOW:
        raise LimitInvalid(f"{_quote(text)} is too large: the most that can be counted exactly is 2**53 - 1")
    return int(digits)


def _parse_window(text: str) -> int | None:
    words = text.split(" ")
    if words[-1] in {"month", "months", "year", "years", "week", "weeks"}:
        unit = words[-1].removesuffix("s")
        raise LimitInvalid(
            f"{unit!r} is not a window: a calendar {unit}, a number of days and a billing period are three"
            " promises, and only the last is on the invoice; write 'per billing period' or 'per day'"
        )
    if words == ["billing", "period"]:
        return None
    count, unit = (words[0], words[1]) if len(words) > 1 else ("1", words[0])
    unit_s = _UNIT_S.get(unit.removesuffix("s"))
    if unit_s is None or len(words) > 2:  # noqa: PLR2004 - a number and a unit
        right = nearest_name(text, [*_UNIT_S, "billing period"])
        raise LimitInvalid(f"{_quote(text)} is not a window: second, minute, hour, day or billing period", right)
    window_s = _parse_units(count) * unit_s
    if window_s == 0:
        raise LimitInvalid("a window of no length holds nothing: write at least 1 second")
    if window_s > _LONGEST_WINDOW_S:
        raise LimitInvalid("a window of more than 366 days is not supported")
    return window_s


def _known_meter(name: str, meters: Collection[str]) -> str:
    if name == REQUESTS or name in meters:
        return name
    right = nearest_name(name, {*meters, REQUESTS})
    raise LimitInvalid(f"there is no meter {_quote(name)}", right)


def _name(meter: str, window_s: int | None, *, pace: bool = False) -> str:
    name = _window_words(window_s).replace(" ", "-").removeprefix("billing-")
    if pace and window_s is not None and window_s >= _QUOTA_FROM_S:
        name += "-rate"
    return name if meter == REQUESTS else f"{meter}-{name}"


def _window_words(window_s: int | None) -> str:
    if window_s is None:
        return "billing period"
    unit = next(unit for unit in reversed(_UNIT_S) if window_s % _UNIT_S[unit] == 0)
    count = window_s // _UNIT_S[unit]
    return unit if count == 1 else f"{count} {unit}s"


def _quote(text: str) -> str:
    shown = text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a readable line
    return repr(shown)
