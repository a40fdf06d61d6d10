"""`add_ons:`: what can be bought beside a plan, and what it adds to the plan's tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.limit_text import LimitInvalid, limit_words, parse_limit
from gateway.core.limits import Quota, limit_field
from gateway.core.offer import AddOn
from gateway.policyfiles.prices import AMOUNT_KEYS, read_price
from gateway.policyfiles.shapes import as_fields, as_list, as_text, check_name, title_of
from gateway.policyfiles.tiers import read_features

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.policyfiles.document import Node, Text
    from gateway.policyfiles.faults import FaultLog, Place
    from gateway.policyfiles.prices import SoldPrices

_KEYS = ("title", "price", "features", "limits")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOnDraft:
    """An add-on as written."""

    name: Text
    title: str
    price_id: str | None
    lookup_key: str | None
    features: tuple[Text, ...]
    limits: tuple[tuple[Quota, Place], ...]

    def compiled(self) -> AddOn:
        """The add-on."""
        return AddOn(
            name=self.name.value,
            title=self.title,
            price_id=self.price_id,
            lookup_key=self.lookup_key,
            features=frozenset(feature.value for feature in self.features),
            limits=tuple(limit for limit, _ in self.limits),
        )


def read_add_ons(
    entries: Sequence[tuple[Text, Node]], meters: Collection[str], sold: SoldPrices, faults: FaultLog
) -> dict[str, AddOnDraft]:
    """The add-ons by name."""
    return {
        key.value: _read_add_on(key, node, meters, sold, faults)
        for key, node in entries
        if check_name(key, "add-on", faults)
    }


def _read_add_on(key: Text, node: Node, meters: Collection[str], sold: SoldPrices, faults: FaultLog) -> AddOnDraft:
    what = f"add-on {key.value!r}"
    fields = as_fields(node, what, faults, known=_KEYS, never=AMOUNT_KEYS)
    price = as_text(fields["price"], f"the price of {what}", faults) if "price" in fields else None
    title = as_text(fields["title"], f"the title of {what}", faults) if "title" in fields else None
    if "price" not in fields:
        faults.add(key.place, f"{what} has no 'price': write 'price: lookup_key {key.value}'")
    if "features" not in fields and "limits" not in fields:
        faults.add(key.place, f"{what} adds nothing: give it 'features', 'limits' or both")
    price_id, lookup_key = (None, None) if price is None else read_price(price, "add-ons", sold, faults)
    return AddOnDraft(
        name=key,
        title=title_of(key.value) if title is None else title.value.strip(),
        price_id=price_id,
        lookup_key=lookup_key,
        features=read_features(fields["features"], what, faults) if "features" in fields else (),
        limits=_read_limits(fields["limits"], what, meters, faults) if "limits" in fields else (),
    )


def _read_limits(node: Node, what: str, meters: Collection[str], faults: FaultLog) -> tuple[tuple[Quota, Place], ...]:
    limits: dict[str, tuple[Quota, Place]] = {}
    for item in as_list(node, f"'limits' of {what}", faults):
        text = as_text(item, f"a limit of {what}", faults)
        quota = None if text is None else _read_quota(text, meters, faults)
        if quota is None:
            continue
        first = limits.setdefault(limit_field(quota), (quota, item.place))
        if first[0] is not quota:
            words = f"{limit_words(first[0])!r} ({first[1]})"
            faults.add(item.place, f"{what} adds to the same quota twice, beside {words}: keep the one you mean")
    return tuple(limits.values())


def _read_quota(text: Text, meters: Collection[str], faults: FaultLog) -> Quota | None:
    try:
        limit = parse_limit(text.value, meters)
    except LimitInvalid as error:
        faults.add(text.place, str(error), suggestion=error.suggestion)
        return None
    if not isinstance(limit, Quota):
        faults.add(text.place, "an add-on adds to quotas, not to a pace or to calls at once")
        return None
    if limit.per_seat or limit.units == 0:
        reason = "is not per seat: it adds its units once for each that is bought" if limit.per_seat else "adds nothing"
        faults.add(text.place, f"{limit_words(limit)!r} of an add-on {reason}")
        return None
    return limit
