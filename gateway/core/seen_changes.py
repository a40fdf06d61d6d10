"""What is recorded of a subscription's changes: when its plan, seats or add-ons became others, and from what. Pure.

Laws:
- what policy calls otherwise has not changed by that;
- a change that was planned happened when it was planned for, however late it is seen;
- a record is bounded: where more changes are seen than it holds, three stretches between which one number differs, the
  seats or those of one add-on, become two that come to the same: a quota is shared by time, so only the sum counts.
  Where none are such, two become one that counts as the lesser of both, of plans that of the lower tier. So what is
  forgotten never counts for more than it was (`core.plan_change`), nor for less if only the seats change.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from gateway.core.account import ExtrasChange
from gateway.core.plan_map import scheduled_plan

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.item_map import ReadItems
    from gateway.core.policy import Policy

MOST_CHANGES = 8
"""So many changes of the plan are remembered, and as many of what is beside it."""
_SEATS = ""
"""Among the names of add-ons, of which none is empty."""


def seen_at(own: Subscription, items: ReadItems, policy: Policy, now: int) -> int:
    """When what is there now became so: as planned, or else when it is seen.

    Args:
        own: What was recorded before.
        items: What is there now.
        policy: That they were read by.
        now: Unix seconds.
    """
    planned = (scheduled_plan(own, policy), own.scheduled_seats, own.scheduled_add_ons)
    if own.scheduled_at is None or own.scheduled_at > now or planned != (items.plan, items.seats, items.add_ons):
        return now
    return max((own.scheduled_at, *(at for at, _ in own.plan_changes), *(one.at for one in own.extras_changes)))


def with_change(
    changes: tuple[tuple[int, str], ...], before: str | None, after: str | None, at: int, policy: Policy
) -> tuple[tuple[int, str], ...]:
    """The changes of a subscription's plan with the one that is seen now, if it is one."""
    if before is None or after is None or before == after:
        return changes
    longer = (*changes, (at, before))
    if len(longer) <= MOST_CHANGES:
        return longer
    (_, first), (until, second), *later = longer
    return ((until, _lower(first, second, policy)), *later)


def _lower(one: str, other: str, policy: Policy) -> str:
    """Of two plans the one of the lower tier; one that is not sold any more says nothing."""
    known = [plan for plan in (policy.find_plan(one), policy.find_plan(other)) if plan is not None]
    return min(known, key=lambda plan: policy.tiers[plan.tier].rank).plan_id if known else one


def with_extras(own: Subscription, items: ReadItems, at: int, window_starts_at: int) -> tuple[ExtrasChange, ...]:
    """The changes of seats and add-ons with the one that is seen now, if it is one.

    Args:
        own: What was recorded before.
        items: What is there now.
        at: Unix seconds: when it became so (`seen_at`).
        window_starts_at: Of the quota's window that runs: changes before it leave the record first.
    """
    names = _names(own, items)
    changes = tuple(replace(change, add_ons=_renamed(change.add_ons, names)) for change in own.extras_changes)
    before = ExtrasChange(at=at, seats=own.seats, add_ons=_with_explained(own, items, names))
    if (before.seats, before.add_ons) == (items.seats, items.add_ons):
        return changes
    longer = (*changes, before)
    if len(longer) <= MOST_CHANGES:
        return longer
    recent = tuple(change for change in longer if change.at > window_starts_at)
    if len(recent) <= MOST_CHANGES:
        return recent
    return _shortened(recent, window_starts_at, tuple(at for at, _ in own.plan_changes))


def _names(own: Subscription, items: ReadItems) -> dict[str, str]:
    """What policy calls the add-ons of prices now, by what it called them when they were read."""
    now = dict(items.add_on_prices)
    return {name: now[price_id] for price_id, name in own.add_on_prices if name and now.get(price_id)}


def _renamed(add_ons: tuple[tuple[str, int], ...], names: dict[str, str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for name, count in add_ons:
        new = names.get(name, name)
        counts[new] = counts.get(new, 0) + count
    return tuple(sorted(counts.items()))


def _with_explained(own: Subscription, items: ReadItems, names: dict[str, str]) -> tuple[tuple[str, int], ...]:
    """What there was, with the add-ons of prices that were there and that policy did not know then."""
    unknown = {price_id for price_id, name in own.add_on_prices if not name}
    explained = {name for price_id, name in items.add_on_prices if name and price_id in unknown}
    before = dict(_renamed(own.add_ons, names))
    fresh = {name: count for name, count in items.add_ons if name in explained and name not in before}
    return tuple(sorted((before | fresh).items()))


def _shortened(
    changes: tuple[ExtrasChange, ...], starts_at: int, plans_changed_at: tuple[int, ...]
) -> tuple[ExtrasChange, ...]:
    """One fewer: three neighbours become two that come to the same, or the two that lose least become one."""
    since = (starts_at, *(change.at for change in changes))
    for place in range(len(changes) - 2):
        three = changes[place : place + 3]
        if any(since[place] < at < three[-1].at for at in plans_changed_at):
            continue  # a seat of one plan is not a seat of the other
        evened = _evened(three, since[place])
        if evened is not None:
            return (*changes[:place], *evened, *changes[place + 3 :])
    pairs = [(one, other, _lesser(one, other)) for one, other in pairwise(changes)]
    losses = [
        (_size(one) - _size(lesser)) * (one.at - since[place]) + (_size(other) - _size(lesser)) * (other.at - one.at)
        for place, (one, other, lesser) in enumerate(pairs)
    ]
    place = losses.index(min(losses))
    return (*changes[:place], pairs[place][2], *changes[place + 2 :])


def _evened(changes: tuple[ExtrasChange, ...], starts_at: int) -> tuple[ExtrasChange, ...] | None:
    """At most two stretches that come to the same as these, to the second; None: more than one number differs.

    A time without seats is left alone: it is one without a subscription, and no seat fewer.
    """
    counts = [{_SEATS: change.seats, **dict(change.add_ons)} for change in changes]
    names = sorted({name for count in counts for name in count if len({one.get(name, 0) for one in counts}) > 1})
    if len(names) > 1 or any(change.seats < 1 for change in changes):
        return None
    name, ends_at = names[0] if names else _SEATS, changes[-1].at
    bounds = pairwise((starts_at, *(change.at for change in changes)))
    total = sum(count.get(name, 0) * (until - since) for count, (since, until) in zip(counts, bounds, strict=True))
    if ends_at == starts_at:
        return changes[-1:]
    each, more_s = divmod(total, ends_at - starts_at)
    fewer = _of_counts(ends_at - more_s, counts[-1] | {name: each})
    return (fewer, _of_counts(ends_at, counts[-1] | {name: each + 1})) if more_s else (fewer,)


def _of_counts(at: int, counts: dict[str, int]) -> ExtrasChange:
    add_ons = sorted((name, count) for name, count in counts.items() if name != _SEATS and count)
    return ExtrasChange(at=at, seats=counts[_SEATS], add_ons=tuple(add_ons))


def _lesser(one: ExtrasChange, other: ExtrasChange) -> ExtrasChange:
    counts = dict(other.add_ons)
    add_ons = tuple((name, min(count, counts[name])) for name, count in one.add_ons if name in counts)
    return ExtrasChange(at=other.at, seats=min(one.seats, other.seats), add_ons=add_ons)


def _size(change: ExtrasChange) -> int:
    return change.seats + sum(count for _, count in change.add_ons)
