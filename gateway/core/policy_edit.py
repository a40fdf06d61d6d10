"""Which counts an edit of the policy starts again, and which plans it takes away. Pure.

A counter is named after its meter, its window and its group of routes (`core.limits.limit_field`). An edit that
changes one of these makes another counter, which holds nothing; all other edits move limits and keep counts.

Laws:
- customers are followed, not names: whoever had a tier before is compared with the tier that the same plan, the
  same price, the same fallback or the same name leads to now;
- only quotas are spoken of: rates refill, and calls at once end, by themselves;
- a limit that is new beside those there were is no restart, nor is one that counts something else;
- equal policies restart nothing;
- a plan is what its price sells: under another id it is not gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.limits import Quota, limit_field
from gateway.core.plan_map import sold_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.policy import Plan, Policy, Tier

Because: TypeAlias = Literal["meter", "window", "group"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """A quota of a tier whose count starts at nothing, and the one that it replaces."""

    tier: str
    tier_before: str
    """The tier that its customers had; as a rule the same."""
    before: Quota
    after: Quota
    because: Because
    """What was renamed or changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GonePlan:
    """A plan whose id is there no more, and what its price sells now."""

    before: Plan
    after: Plan | None
    """Under another id; None: nothing, and whoever pays for it has no plan any more."""


def gone_plans(before: Policy, after: Policy) -> tuple[GonePlan, ...]:
    """The plans that go if `before` is in force and becomes `after`, in their order."""
    sold = {sold_as(plan): plan for plan in after.plans.values()}
    return tuple(
        GonePlan(before=plan, after=sold.get(sold_as(plan)))
        for plan_id, plan in before.plans.items()
        if plan_id not in after.plans
    )


def restarted_counts(before: Policy, after: Policy) -> tuple[Restart, ...]:
    """The counts that start again if `before` is in force and becomes `after`, in the order of the tiers."""
    moves = set(_moves(before, after))
    return tuple(
        restart
        for tier in after.tiers.values()
        for old in before.tiers.values()
        if (old.name, tier.name) in moves
        for restart in _restarts(before, after, old, tier)
    )


def _moves(before: Policy, after: Policy) -> Iterator[tuple[str, str]]:
    """The tiers, before and after, of customers about whom nothing else changes."""
    yield from ((name, name) for name in before.tiers)  # given by name: by hand, or in a product's metadata
    for old in before.plans.values():
        for new in after.plans.values():
            if new.plan_id == old.plan_id or (new.price_id, new.lookup_key) == (old.price_id, old.lookup_key):
                yield old.tier, new.tier
    for row, standing in after.lifecycle.items():  # to the default tier too
        if (fallen := before.lifecycle[row].then) is not None and standing.then is not None:
            yield fallen, standing.then


def _restarts(before: Policy, after: Policy, old: Tier, new: Tier) -> Iterator[Restart]:
    gone, come = _only_in(old, new), _only_in(new, old)
    for quota in come:
        for other in gone:
            because = _why(before, after, other, quota)
            if because is not None:
                gone.remove(other)
                yield Restart(tier=new.name, tier_before=old.name, before=other, after=quota, because=because)
                break


def _only_in(tier: Tier, other: Tier) -> list[Quota]:
    there = {limit_field(limit) for limit in other.limits}
    return [limit for limit in tier.limits if isinstance(limit, Quota) and limit_field(limit) not in there]


def _why(before: Policy, after: Policy, old: Quota, new: Quota) -> Because | None:
    """What makes `new` of `old`; None: it is another limit."""
    same = (old.meter == new.meter, old.window_s == new.window_s, old.group == new.group)
    if same == (True, False, True):
        return "window"
    if same == (False, True, True) and old.meter not in after.meters and new.meter not in before.meters:
        return "meter"
    groups = (before.route_groups, after.route_groups)
    if same == (True, True, False) and old.group not in {None, *groups[1]} and new.group not in {None, *groups[0]}:
        return "group"
    return None
