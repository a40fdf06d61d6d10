"""A tier granted by hand: what it adds to the access that a subscription gives. Pure.

Laws:
- the higher tier counts: a grant raises access and never lowers it;
- its end is a fact of time: from that second on the same account answers as if there were no grant;
- it lifts no suspension: who is blocked, or suspended for a dispute, stays so;
- it hides no instant: what ends beneath it (a grace, the days before a suspension) is decided anew then;
- it moves no window (`core.window`): months from sign-up without a subscription, the subscription's with
  one, so what was used stays used and nobody gets a second quota by a grant or by its end;
- a tier that policy does not have any more grants nothing, and the customer is told.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from gateway.core.standing_words import without_end

if TYPE_CHECKING:
    from gateway.core.access_value import Access
    from gateway.core.account import TierGrant
    from gateway.core.policy import Policy

GrantState = Literal["in-force", "below", "over", "unknown-tier", "suspended"]

TIER_GONE = "The tier that was granted to this account is not offered any more."


def raised(access: Access, grant: TierGrant, policy: Policy, now: float) -> Access:
    """What a customer may do who has both.

    Args:
        access: What the subscription gives, or its absence.
        grant: Of the same account.
        policy: Ranks both tiers.
        now: Unix seconds.

    Returns:
        `access` itself if the grant adds nothing. Otherwise the granted tier until the grant ends, in good
        standing; the plan and what is wrong with its payments are still told.
    """
    if now >= grant.ends_at or access.standing == "suspended":
        return access
    tier = policy.tiers.get(grant.tier)
    if tier is None:
        return access if access.warning is not None else replace(access, warning=TIER_GONE)
    if access.tier is not None and access.tier.rank >= tier.rank:
        return access
    # A sentence about a grace names an end that is not this access's.
    warning = access.warning if access.grace_until is None else without_end(access.warning)
    return replace(
        access,
        tier=tier,
        standing="good",
        refusal=None,
        warning=warning,
        grace_until=grant.ends_at,
        beneath_until=access.decided_until,
    )


def grant_state(grant: TierGrant, access: Access, policy: Policy, now: float) -> GrantState:
    """What has become of a grant, in a word for people.

    Args:
        grant: Of the account that `access` is of.
        access: What `decide_access` answered at `now`.
        policy: The same.
        now: Unix seconds.
    """
    if now >= grant.ends_at:
        return "over"
    if access.standing == "suspended":
        return "suspended"
    tier = policy.tiers.get(grant.tier)
    if tier is None:
        return "unknown-tier"
    is_raised = access.tier is not None and access.tier.name == tier.name and access.grace_until == grant.ends_at
    return "in-force" if is_raised else "below"
