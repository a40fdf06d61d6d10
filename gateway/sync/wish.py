"""A change of a subscription that was asked for and can be made, with what there is now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.billing import PlanChange
from gateway.core.billing_facts import ItemFacts, PriceTerms, ScheduleFacts
from gateway.core.candidate import Candidate
from gateway.core.policy import Plan
from gateway.core.switching import Direction, When


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A change that can be made."""

    current: Candidate
    item: ItemFacts
    plan: Plan
    price: PriceTerms
    """Of the plan; of the plan that there is, the one that it has."""
    direction: Direction
    when: When
    change: PlanChange

    @property
    def schedule(self) -> ScheduleFacts | None:
        """What is planned already."""
        return self.current.facts.schedule

    def leads_to(self, items: Iterable[tuple[str, int]], *, also_removes: bool) -> bool:
        """Whether these prices, and how many of each, are what there is once it is made.

        Args:
            items: At Stripe, waiting or planned.
            also_removes: Whether what goes is gone in them. Where a change waits for a payment, there are none of it.
        """
        change = self.change
        gone = {item_id for item_id, _ in change.removes} if also_removes else set()
        rest = [
            (item.price_id, 0 if item.item_id in change.settles else item.quantity)
            for item in self.current.facts.items
            if item.item_id not in gone and item.item_id != change.item_id
        ]
        base = (change.price_id, self.item.quantity if change.quantity is None else change.quantity)
        return sorted(items) == sorted([base, *rest, *((price_id, 1) for price_id in change.adds)])

    @property
    def takes_effect_at(self) -> int:
        """Unix seconds."""
        return self.change.at if self.when == "now" else self.item.period_ends_at
