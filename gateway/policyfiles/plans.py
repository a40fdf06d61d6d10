"""`plans:`: which Stripe price grants which tier. Amounts live in Stripe and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.policyfiles.shapes import as_fields, as_text, check_name, title_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.policyfiles.document import Node, Text
    from gateway.policyfiles.faults import FaultLog, Place

_PLAN_KEYS = ("tier", "price", "title")
_AMOUNT_KEYS = dict.fromkeys(
    ("amount", "currency", "unit_amount", "cost"), "what a plan costs is set in Stripe, on the price"
)
_PRICE_ID = re.compile(r"price_[A-Za-z0-9_]{1,200}")
_LOOKUP_KEY = re.compile(r"lookup_key ([A-Za-z0-9_.:-]{1,200})")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDraft:
    """A plan as written."""

    name: Text
    tier: Text
    title: str
    price_id: str | None
    lookup_key: str | None


def read_plans(entries: Sequence[tuple[Text, Node]], faults: FaultLog) -> dict[str, PlanDraft]:
    """The plans by id."""
    plans: dict[str, PlanDraft] = {}
    price_at: dict[str, Place] = {}
    for key, node in entries:
        if not check_name(key, "plan", faults):
            continue
        plan = _read_plan(key, node, price_at, faults)
        if plan is not None:
            plans[key.value] = plan
    return plans


def _read_plan(key: Text, node: Node, price_at: dict[str, Place], faults: FaultLog) -> PlanDraft | None:
    what = f"plan {key.value!r}"
    fields = as_fields(node, what, faults, known=_PLAN_KEYS, later=("grandfather", "trial"), never=_AMOUNT_KEYS)
    for missing in ("tier", "price"):
        if missing not in fields:
            faults.add(key.place, f"{what} has no {missing!r}: write '{{tier: pro, price: lookup_key pro_monthly}}'")
    tier = as_text(fields["tier"], f"the tier of {what}", faults) if "tier" in fields else None
    price = as_text(fields["price"], f"the price of {what}", faults) if "price" in fields else None
    title = as_text(fields["title"], f"the title of {what}", faults) if "title" in fields else None
    price_id, lookup_key = (None, None) if price is None else _read_price(price, price_at, faults)
    if tier is None:
        return None
    return PlanDraft(
        name=key,
        tier=tier,
        title=title_of(key.value) if title is None else title.value.strip(),
        price_id=price_id,
        lookup_key=lookup_key,
    )


def _read_price(text: Text, price_at: dict[str, Place], faults: FaultLog) -> tuple[str | None, str | None]:
    words = " ".join(text.value.split())
    by_key = _LOOKUP_KEY.fullmatch(words)
    if by_key is None and _PRICE_ID.fullmatch(words) is None:
        faults.add(
            text.place,
            f"{words[:60]!r} is not a Stripe price: write 'lookup_key pro_monthly' or an id like"
            " 'price_1Ab', never an amount",
        )
        return None, None
    if words in price_at:
        faults.add(text.place, f"two plans have the price {words!r}: first at {price_at[words]}")
    price_at.setdefault(words, text.place)
    return (words, None) if by_key is None else (None, by_key[1])
