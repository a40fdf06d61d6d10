"""What a tier allows: rates, quotas and calls at once, as policy states them.

Amounts are whole *units* of a meter; durations end in `_ms` or `_s`. These are the
promises; how much of them is left lives in the cache (`core.charge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A sustained pace with a burst: a leaky bucket, equal to GCRA.

    Over any interval T it admits at most `burst + units * T / window_ms` units.
    """

    name: str
    """What the RateLimit fields call it: `second`, `minute`, `<meter>-minute` for other meters, or
    `<group>-minute` for a group of routes."""
    meter: str
    units: int
    """Units per `window_ms`, >= 1."""
    window_ms: int
    burst: int
    """Units that may be spent at once, >= 1. `burst * window_ms` stays below 2**53."""
    group: str | None = None
    """The routes that it counts (`core.route`), and no others; None: every call."""
    per_seat: bool = False
    """Units and burst are those of one seat; `core.bought` multiplies them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A number of units per window; waiting for the next window or upgrading helps."""

    name: str
    """`period`, `day`, `hour`, `<meter>-period`, `<group>-day` or `<group>-<meter>-day`."""
    meter: str
    units: int
    """Units per window, >= 0."""
    window_s: int | None
    """Length of a fixed window aligned to the Unix epoch (3600 = UTC hour, 86400 = UTC day);
    None for the customer's billing period, whose bounds come from the subscription."""
    group: str | None = None
    """The routes that it counts (`core.route`), and no others; None: every call."""
    per_seat: bool = False
    """Units are those of one seat; `core.bought` multiplies them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """Calls in progress at once, over all workers; waiting for one of them to end helps.

    Every call is one, whatever it costs.
    """

    name: str
    """`concurrent`, or `<group>-concurrent`."""
    units: int
    """Calls at once, >= 1."""
    group: str | None = None
    """The routes that it counts (`core.route`), and no others; None: every call."""


Limit: TypeAlias = Rate | Quota | Concurrency


def limit_field(limit: Limit, key_id: str | None = None) -> str:
    """Name of the counter that a limit reads and writes, within one customer.

    It names the meter, the window and the group of routes, never the tier, the number of units or a
    place in the policy: so a plan change or a policy edit moves the limit and keeps the count. `key_id` makes it the
    key's own counter. No two limits that count differently share a name, nor does one have the name of what counts
    overage (`core.overage`) or a grant (`core.credits`), whatever policy calls its meters and groups: names are
    letters, digits, `-` and `_` (`policyfiles.shapes.check_name`), so `:` and `@` part them, and a window is `period`
    or a number of at most 8 digits. Source: gateway/cache/keyspace.py stores one hash field per name; of calls at
    once, a sorted set.
    """
    if isinstance(limit, Concurrency):
        name = "live"
    elif isinstance(limit, Rate):
        name = f"r:{limit.meter}:{limit.window_ms}"
    else:
        name = f"q:{limit.meter}:{'period' if limit.window_s is None else limit.window_s}"
    if limit.group is not None:
        name = f"{name}:{limit.group}"
    return name if key_id is None else f"{name}@{key_id}"
