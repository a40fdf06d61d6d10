"""`plans:`: which Stripe price grants which tier. Amounts live in Stripe and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.policy import Plan
from gateway.policyfiles.overages import read_plan_prices
from gateway.policyfiles.prices import AMOUNT_KEYS, read_price
from gateway.policyfiles.seats import read_seats
from gateway.policyfiles.shapes import as_fields, as_list, as_text, check_name, title_of
from gateway.policyfiles.terms import TERM_KEYS, read_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.offer import CheckoutTerms, SeatRange
    from gateway.policyfiles.document import Node, Text
    from gateway.policyfiles.faults import FaultLog, Place
    from gateway.policyfiles.overages import PlanPrice
    from gateway.policyfiles.prices import SoldPrices

_PLAN_KEYS = ("tier", "price", "title", "seats", "add_ons", "overage_price", *TERM_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDraft:
    """A plan as written."""

    name: Text
    tier: Text
    title: str
    price_id: str | None
    lookup_key: str | None
    seats: SeatRange | None
    seats_place: Place | None
    add_ons: tuple[Text, ...]
    terms: CheckoutTerms
    overage_prices: tuple[PlanPrice, ...]

    def compiled(self) -> Plan:
        """The plan."""
        return Plan(
            plan_id=self.name.value,
            tier=self.tier.value,
            title=self.title,
            price_id=self.price_id,
            lookup_key=self.lookup_key,
            seats=self.seats,
            add_ons=tuple(name.value for name in self.add_ons),
            terms=self.terms,
        )


def read_plans(entries: Sequence[tuple[Text, Node]], sold: SoldPrices, faults: FaultLog) -> dict[str, PlanDraft]:
    """The plans by id."""
    plans: dict[str, PlanDraft] = {}
    for key, node in entries:
        if not check_name(key, "plan", faults):
            continue
        plan = _read_plan(key, node, sold, faults)
        if plan is not None:
            plans[key.value] = plan
    return plans


def _read_plan(key: Text, node: Node, sold: SoldPrices, faults: FaultLog) -> PlanDraft | None:
    what = f"plan {key.value!r}"
    fields = as_fields(node, what, faults, known=_PLAN_KEYS, later=("grandfather",), never=AMOUNT_KEYS)
    for missing in ("tier", "price"):
        if missing not in fields:
            faults.add(key.place, f"{what} has no {missing!r}: write '{{tier: pro, price: lookup_key pro_monthly}}'")
    tier = as_text(fields["tier"], f"the tier of {what}", faults) if "tier" in fields else None
    price = as_text(fields["price"], f"the price of {what}", faults) if "price" in fields else None
    title = as_text(fields["title"], f"the title of {what}", faults) if "title" in fields else None
    price_id, lookup_key = (None, None) if price is None else read_price(price, "plans", sold, faults)
    if tier is None:
        return None
    return PlanDraft(
        name=key,
        tier=tier,
        title=title_of(key.value) if title is None else title.value.strip(),
        price_id=price_id,
        lookup_key=lookup_key,
        seats=read_seats(fields["seats"], f"'seats' of {what}", faults) if "seats" in fields else None,
        seats_place=fields["seats"].place if "seats" in fields else None,
        add_ons=_read_names(fields["add_ons"], what, faults) if "add_ons" in fields else (),
        terms=read_terms(fields, what, faults),
        overage_prices=read_plan_prices(fields["overage_price"], what, faults) if "overage_price" in fields else (),
    )


def _read_names(node: Node, what: str, faults: FaultLog) -> tuple[Text, ...]:
    """Names of add-ons, each once."""
    names: dict[str, Text] = {}
    for item in as_list(node, f"'add_ons' of {what}", faults):
        text = as_text(item, f"an add-on of {what}", faults)
        if text is None:
            continue
        if text.value in names:
            faults.add(text.place, f"add-on {text.value[:40]!r} is listed twice in {what}")
        names[text.value] = text
    return tuple(names.values())
