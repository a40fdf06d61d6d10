"""What schedules do: take a subscription over, plan its phases, carry each out when its time comes.

Source: https://docs.stripe.com/billing/subscriptions/subscription-schedules
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.sandbox.engine.changes import Change, ItemChange, apply_change
from gateway.sandbox.engine.phase_settings import copied, days_to_pay, with_settings
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_pending_line, change_subscription, emit
from gateway.sandbox.engine.scheduled import let_go, put_schedule, schedule_of
from gateway.sandbox.engine.subscriptions import cancel, expect_currency, recurring_price
from gateway.sandbox.engine.usage import metered, usage_lines
from gateway.sandbox.invoice_records import PendingLine
from gateway.sandbox.periods import period_end
from gateway.sandbox.records import Item, Labels, Subscription
from gateway.sandbox.schedule_records import Phase, PhaseItem, Schedule, Settings
from gateway.sandbox.shapes.schedules import schedule_shape
from gateway.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseOrder:
    """A phase as it is asked for; it lasts to `ends_at`, or for `lasts`: an interval and how many of it."""

    items: tuple[PhaseItem, ...]
    starts_at: int | None = None
    ends_at: int | None = None
    lasts: tuple[str, int] | None = None
    proration_behavior: str = "create_prorations"
    trial_ends_at: int | None = None
    discounts: tuple[str, ...] = ()
    settings: Settings = field(default_factory=Settings)
    metadata: Labels = field(default_factory=dict)


def take_over(world: World, subscription_id: str) -> Schedule:
    """A schedule of one phase, which is the subscription's period as it is.

    Raises:
        Refused: it has a schedule, or is over.
    """
    subscription = world.subscription(subscription_id)
    if subscription.ended_at is not None:
        raise Refused("You cannot migrate a subscription that is already canceled.", param="from_subscription")
    if subscription.schedule_id is not None:
        message = f"You cannot migrate a subscription that is already attached to a schedule: `{subscription_id}`."
        raise Refused(message, param="from_subscription")
    first = Phase(
        starts_at=subscription.items[0].period_starts_at,
        ends_at=subscription.period_ends_at,
        items=_items_of(subscription),
        trial_ends_at=subscription.trial_ends_at if subscription.status == "trialing" else None,
        discounts=tuple(one.id for one in subscription.discounts),
        settings=Settings(automatic_tax=subscription.automatic_tax),
    )
    schedule = Schedule(
        id=world.new_id("sub_sched"),
        customer_id=subscription.customer_id,
        created=world.now,
        currency=subscription.currency,
        subscription_id=subscription.id,
        phases=(first,),
        entered_at=first.starts_at,
        end_behavior="cancel" if subscription.cancel_at_period_end else "release",
        defaults=copied(subscription),
    )
    put_schedule(world, schedule, "created")
    change_subscription(world, replace(subscription, schedule_id=schedule.id))
    return schedule


def plan_phases(world: World, schedule: Schedule, orders: Sequence[PhaseOrder]) -> tuple[Phase, ...]:
    """The phases that are asked for, one behind the other. Past ones may be left out, the current one may not.

    Raises:
        Refused: the first does not begin where the current phase does, a phase ends before it begins, or its
            price cannot be subscribed to.
    """
    current = schedule.phase_at(world.now)
    if current is not None and orders[0].starts_at != current.starts_at:
        message = "You can not modify the start date of the current phase."
        raise Refused(message, param="phases[0][start_date]")
    phases: list[Phase] = []
    starts_at = orders[0].starts_at or world.now
    for at, order in enumerate(orders):
        if at and order.starts_at not in {None, starts_at}:
            raise Refused("Phases must be contiguous.", param=f"phases[{at}][start_date]")
        for item in order.items:
            price = recurring_price(world, item.price_id, f"phases[{at}][items]")
            expect_currency(price.currency, schedule.currency, f"phases[{at}][items]")
        ends_at = order.ends_at or period_end(starts_at, *_length(world, order), starts_at)
        if ends_at <= max(starts_at, world.now):
            raise Refused("The phase must end in the future.", param=f"phases[{at}][end_date]")
        phases.append(
            Phase(
                starts_at=starts_at,
                ends_at=ends_at,
                items=order.items,
                proration_behavior=order.proration_behavior,
                trial_ends_at=order.trial_ends_at,
                discounts=order.discounts,
                settings=order.settings,
                metadata=order.metadata,
            )
        )
        starts_at = ends_at
    return tuple(phases)


def replan(world: World, schedule: Schedule, phases: tuple[Phase, ...], proration_behavior: str) -> Schedule:
    """Other phases, now. What is changed of the current one is changed of the subscription at once.

    Raises:
        Refused: The schedule is over, or a phase does not say how long there is to pay.
    """
    must_run(schedule, "update")
    for phase in phases:
        days_to_pay(phase, schedule.defaults)
    planned = replace(schedule, phases=phases, entered_at=phases[0].starts_at)
    put_schedule(world, planned)
    _carry_out(world, planned, proration_behavior)
    return schedule_of(world, schedule.id)


def must_run(schedule: Schedule, verb: str) -> None:
    """Raises Refused for a schedule that is over."""
    if not schedule.is_running:
        raise Refused(
            f"You cannot {verb} a subscription schedule that is currently in the `{schedule.status}` status. "
            "It must be in `not_started` or `active`."
        )


def schedule_falls_due(world: World, schedule: Schedule) -> None:
    """Enter the next phase, or end behind the last one."""
    phase = schedule.phase_at(world.now)
    if phase is None:
        if schedule.end_behavior == "cancel" and schedule.subscription_id is not None:
            cancel(world, schedule.subscription_id)
        else:
            let_go(world, schedule, is_complete=True)
        return
    entered = replace(schedule, entered_at=phase.starts_at)
    put_schedule(world, entered)
    emit(world, "subscription_schedule.updated", schedule_shape(world, entered), {"current_phase": None})
    _carry_out(world, entered, phase.proration_behavior)


def follow(world: World, subscription: Subscription) -> None:
    """A subscription that was changed directly takes its schedule's current phase along."""
    schedule = world.tables.schedules.get(subscription.schedule_id or "")
    if schedule is None or not schedule.is_running:
        return
    now = world.now
    items = _items_of(subscription)
    phases = tuple(replace(one, items=items) if one.starts_at <= now < one.ends_at else one for one in schedule.phases)
    put_schedule(world, replace(schedule, phases=phases))


def _carry_out(world: World, schedule: Schedule, proration_behavior: str) -> None:
    """Make the subscription what the current phase says. At a period's end the renewal bills it, and nothing else."""
    phase = schedule.phase_at(world.now)
    if phase is None or schedule.subscription_id is None:
        return
    subscription = world.subscription(schedule.subscription_id)
    if phase.metadata:
        subscription = replace(subscription, metadata={**subscription.metadata, **phase.metadata})
        change_subscription(world, subscription)
    kept = tuple(one for one in subscription.discounts if one.id in phase.discounts)
    if kept != subscription.discounts:  # a phase that leaves them out loses them
        subscription = replace(subscription, discounts=kept)
        change_subscription(world, subscription)
    subscription = with_settings(world, subscription, schedule, phase)
    change_subscription(world, subscription)
    if _items_of(subscription) == phase.items:
        return
    if subscription.period_ends_at <= world.now:
        _bill_what_goes(world, subscription, phase)
        items = _at_once(world, subscription, phase)
        moves = _rhythm(world, items[0]) != _rhythm(world, subscription.items[0])
        anchor = subscription.period_ends_at if moves else subscription.anchor
        change_subscription(world, replace(subscription, items=items, anchor=anchor))
        return
    changes = _item_changes(world, subscription, phase)
    apply_change(world, subscription, Change(items=changes, proration_behavior=proration_behavior))


def _bill_what_goes(world: World, subscription: Subscription, phase: Phase) -> None:
    """The renewal bills what was used of metered prices that the phase does not have, too."""
    stay = {item.price_id for item in phase.items}
    for item in metered(world, subscription.items):
        if item.price_id not in stay:
            for line in usage_lines(world, subscription, item, item.period_ends_at):
                pending = PendingLine(id=line.id, customer_id=subscription.customer_id, created=world.now, line=line)
                add_pending_line(world, pending)


def _item_changes(world: World, subscription: Subscription, phase: Phase) -> tuple[ItemChange, ...]:
    changes, free = [], list(subscription.items)
    kept = {item.price_id: item for item in subscription.items}
    wanted = [one for one in phase.items if one.price_id not in kept]
    for one in phase.items:
        if (item := kept.get(one.price_id)) is not None:
            free.remove(item)
            changes.append(ItemChange(item_id=item.id, quantity=_quantity(world, one)))
    for one in wanted:
        item_id = free.pop(0).id if free else None
        changes.append(ItemChange(item_id=item_id, price_id=one.price_id, quantity=_quantity(world, one)))
    changes += [ItemChange(item_id=item.id, deleted=True) for item in free]
    return tuple(changes)


def _quantity(world: World, item: PhaseItem) -> int | None:
    return None if world.price(item.price_id).meter_id is not None else item.quantity


def _at_once(world: World, subscription: Subscription, phase: Phase) -> tuple[Item, ...]:
    items = {item.id: item for item in subscription.items}
    for change in _item_changes(world, subscription, phase):
        if change.deleted:
            del items[change.item_id or ""]
        elif change.item_id is not None:
            old = items[change.item_id]
            items[old.id] = replace(
                old,
                price_id=change.price_id or old.price_id,
                quantity=change.quantity or old.quantity,
                usage_since=old.usage_since if change.price_id is None else old.period_ends_at,
            )
        else:
            first = subscription.items[0]
            item_id = world.new_id("si")
            items[item_id] = replace(
                first,
                id=item_id,
                price_id=change.price_id or "",
                quantity=change.quantity or 1,
                created=world.now,
                usage_since=first.period_ends_at,
                metadata={},
            )
    return tuple(items.values())


def _rhythm(world: World, item: Item) -> tuple[str | None, int]:
    price = world.price(item.price_id)
    return price.interval, price.interval_count


def _items_of(subscription: Subscription) -> tuple[PhaseItem, ...]:
    return tuple(
        PhaseItem(price_id=item.price_id, quantity=item.quantity, metadata=item.metadata) for item in subscription.items
    )


def _length(world: World, order: PhaseOrder) -> tuple[str, int]:
    if order.lasts is not None:
        return order.lasts
    price = world.price(order.items[0].price_id)
    return price.interval or "month", price.interval_count
