"""What a tier's customers may do while the cache cannot decide. Pure; `gateway.outages` counts.

Laws:

- `deny`: nobody is let in. `allow`: everybody whom the last account would let in, without a count.
- `local`: at most so many units for each customer and worker in one outage. A call takes the
  largest of its costs, and at least one, so that N bounds the calls and the units of every meter;
  one that turns out to cost more than it reserved takes that too, when it is known.
- Whatever N is, no more than the smallest quota of the call: nobody gets two windows' worth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.charge import QuotaClaim
from gateway.core.limits import Quota

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.charge import Claim
    from gateway.core.limits import Limit

OutageMode: TypeAlias = Literal["deny", "allow", "local"]

SNAPSHOT_LIVES_S = 900
"""An account that the cache confirmed longer ago is not gone by."""

MOST_UNITS = 1_000_000_000
"""The largest N of `local N`."""

_SHARE, _LEAST, _MOST, _WITHOUT_QUOTA = 100, 10, 10_000, 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageRule:
    """One tier's `when_cache_fails`."""

    mode: OutageMode
    units: int = 0
    """The N of `local N`; 0 otherwise."""


DENY = OutageRule(mode="deny")


def default_rule(limits: Sequence[Limit], *, is_sold: bool) -> OutageRule:
    """What holds for a tier that says nothing.

    Who pays is let in for a hundredth of the tier's smallest quota on every call, 10 at least and 10,000 at
    most, or 1,000 where there is none. A tier that no plan sells waits.
    """
    if not is_sold:
        return DENY
    smallest = min((limit.units for limit in limits if isinstance(limit, Quota) and limit.group is None), default=None)
    units = _WITHOUT_QUOTA if smallest is None else min(max(smallest // _SHARE, _LEAST), _MOST)
    return OutageRule(mode="local", units=units)


def outage_words(rule: OutageRule) -> str:
    """The rule as policy writes it."""
    return f"local {rule.units:_}" if rule.mode == "local" else rule.mode


def units_of(claims: Sequence[Claim]) -> int:
    """What a call takes of the N."""
    return max([1, *(claim.cost for claim in claims)])


def most_units(rule: OutageRule, claims: Sequence[Claim]) -> int:
    """The N of `local N` as it holds for a call with these claims."""
    return min([rule.units, *(claim.limit for claim in claims if isinstance(claim, QuotaClaim))])
