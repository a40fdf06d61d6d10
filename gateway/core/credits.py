"""Credits: units beside a quota, spent when the quota of their meter is used up. Pure.

Laws:
- a call's cost is covered by the quota first and then by credits, those first that expire first;
  each covers what it can, and all of it is one charge: together they cover the cost or nothing is spent;
- credits extend the longest quota of their meter. Shorter ones, those on a group of routes, the limits
  of a key and rates stay as they are, and so does a meter without a quota: there is nothing to extend;
- a grant is counted like a quota whose window is `[granted_at, expires_at)`, so it is settled,
  restored after a loss of the cache, and given back like one;
- a grant is good for its units once: no window, plan or tier renews it;
- every live grant of the meter is asked, so that no call is refused while they could cover it together. How many
  there can be is bounded where they are granted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway.core.account import LAST_INSTANT
from gateway.core.charge import QuotaClaim
from gateway.core.keys import ALPHABET
from gateway.core.limits import Quota
from gateway.core.window import quota_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gateway.core.account import Account, Grant
    from gateway.core.charge import Claim
    from gateway.core.limits import Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditTerms:
    """When credits expire where whoever grants them does not say. Neither is set: never."""

    expire_s: int | None = None
    """Seconds after they are granted."""
    at_period_end: bool = False
    """With the customer's billing period, so that nothing is carried over."""


NEVER_EXPIRE = CreditTerms()

GRANT_ID_LENGTH = 12
"""Characters of `core.keys.ALPHABET`. Longer than any window in the name of a quota's counter is written, so a meter
may be called `credit` too (`core.limits.limit_field`)."""

_FIELD_STARTS = "q:credit:"
_FIELD = re.compile(f"{_FIELD_STARTS}[{ALPHABET}]{{{GRANT_ID_LENGTH}}}")


def grant_field(grant_id: str) -> str:
    """Name of the counter of what is used of a grant, within one customer."""
    return _FIELD_STARTS + grant_id


def is_grant_field(field: str) -> bool:
    """Whether a counter is a grant's."""
    return _FIELD.fullmatch(field) is not None


def grant_order(grant: Grant) -> tuple[int, int, str]:
    """Sorts grants as they are spent: soonest to expire, then oldest."""
    return ends_at(grant), grant.granted_at, grant.grant_id


def ends_at(grant: Grant) -> int:
    """When it expires; for one that never does, later than any instant."""
    return LAST_INSTANT + 1 if grant.expires_at is None else grant.expires_at


def default_expiry(terms: CreditTerms, account: Account, now: float) -> int | None:
    """When credits that are granted now expire, if nobody says; None: never."""
    if terms.at_period_end:
        return quota_window(account, now, None)[1]
    return None if terms.expire_s is None else int(now) + terms.expire_s


def credit_claims(
    account: Account, limit: Limit, limits: Sequence[Limit], cost: int, now: float
) -> tuple[QuotaClaim, ...]:
    """What stands behind a quota of a tier: claims on grants, for the end of a chain that the quota begins.

    Args:
        account: Its grants are in the order of `grant_order`.
        limit: The one that may be extended.
        limits: All of the tier, to tell which is the longest quota.
        cost: Units of `limit.meter`, >= 1.
        now: Unix seconds.
    """
    if not isinstance(limit, Quota) or not _is_longest(limit, limits):
        return ()
    live = [
        grant for grant in account.grants if grant.meter == limit.meter and grant.granted_at <= now < ends_at(grant)
    ]
    claims = [
        QuotaClaim(
            field=grant_field(grant.grant_id),
            cost=cost,
            limit=grant.units,
            starts_at=grant.granted_at,
            ends_at=ends_at(grant),
            passes_on=True,
        )
        for grant in live
    ]
    return (*claims[:-1], replace(claims[-1], passes_on=False)) if claims else ()


def lives_on_credits(limit: Limit, limits: Iterable[Limit]) -> bool:
    """Whether a limit of a tier is a quota of nothing that credits extend, so that they pay for all of a call.

    Args:
        limit: The one that is asked about.
        limits: All of the tier.
    """
    return isinstance(limit, Quota) and limit.units == 0 and _is_longest(limit, limits)


def units_left(grant: Grant, used: int, now: float) -> int:
    """What can still be spent of a grant of which `used` units are used."""
    return max(0, grant.units - used) if now < ends_at(grant) else 0


def next_grant_at(account: Account, now: float) -> int | None:
    """When the next grant begins: one that another clock has dated a little ahead of this one."""
    return min((grant.granted_at for grant in account.grants if grant.granted_at > now), default=None)


def restored_counters(account: Account, counters: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The ledger's counters that a cache needs: of all grants there ever were, those of the account only."""
    live = {grant_field(grant.grant_id) for grant in account.grants}
    return {field: counter for field, counter in counters.items() if field in live or not is_grant_field(field)}


def has_chain(claims: Sequence[Claim]) -> bool:
    """Whether any claim passes on what it cannot cover."""
    return any(isinstance(claim, QuotaClaim) and claim.passes_on for claim in claims)


def chain_heads(claims: Sequence[Claim]) -> list[Claim]:
    """The claims that stand alone, and the first of each chain: one for each state of an answer."""
    heads: list[Claim] = []
    is_in_chain = False
    for claim in claims:
        if not is_in_chain:
            heads.append(claim)
        is_in_chain = isinstance(claim, QuotaClaim) and claim.passes_on
    return heads


def units_taken(claims: Sequence[Claim], owed: Sequence[int]) -> tuple[int, ...]:
    """What each claim of a charge that passed took.

    Args:
        claims: All of them.
        owed: Of each, what was used before: more of them than there are claims do not matter.
    """
    taken: list[int] = []
    rest: int | None = None
    for claim, used in zip(claims, owed, strict=False):
        need = claim.cost if rest is None else rest
        if isinstance(claim, QuotaClaim) and claim.passes_on:
            took = max(0, min(need, claim.limit - used))
            rest = need - took
        else:
            took, rest = need, None
        taken.append(took)
    return tuple(taken)


def _is_longest(quota: Quota, limits: Iterable[Limit]) -> bool:
    if quota.group is not None:
        return False
    others = [each for each in limits if isinstance(each, Quota) and each.meter == quota.meter and each.group is None]
    return _length(quota) == max(_length(each) for each in others)


def _length(quota: Quota) -> float:
    """A billing period counts as the longest window: it is the one that is paid for."""
    return float("inf") if quota.window_s is None else quota.window_s
