"""The metered items of a subscription, read back from JSON. Members of a later release are left out."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gateway.core.account import MeteredItem
from gateway.core.tariff import PriceStep, Tariff

if TYPE_CHECKING:
    from collections.abc import Sequence


def load_metered(objects: Sequence[dict[str, Any]]) -> tuple[MeteredItem, ...]:
    """The items that `dataclasses.asdict` wrote."""
    return tuple(MeteredItem(**(_known(MeteredItem, one) | {"tariff": _tariff(one.get("tariff"))})) for one in objects)


def _tariff(one: dict[str, Any] | None) -> Tariff | None:
    if one is None:
        return None
    steps = tuple(PriceStep(**_known(PriceStep, step)) for step in one.get("steps", ()))
    return Tariff(**(_known(Tariff, one) | {"steps": steps}))


def _known(kind: type[MeteredItem | Tariff | PriceStep], one: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {name: value for name, value in one.items() if name in names}
