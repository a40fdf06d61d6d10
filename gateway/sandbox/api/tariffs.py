"""How the price of a price is asked for: by unit, by package, by tiers; and the meter of a metered one."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.tariffs import Tariff, Tier
from gateway.sandbox.wire.params import Each, Exact, Shape, Spec, Text, Whole
from gateway.sandbox.wire.problems import invalid, missing
from gateway.sandbox.world import World, find

_AMOUNTS: Spec = {"unit_amount": Whole(), "unit_amount_decimal": Exact()}
TARIFF: Spec = {
    **_AMOUNTS,
    "billing_scheme": Text(choices=("per_unit", "tiered")),
    "tiers": Each(
        fields={
            **_AMOUNTS,
            "flat_amount": Whole(),
            "flat_amount_decimal": Exact(),
            "up_to": Whole(required=True, least=1, words=("inf",)),
        }
    ),
    "tiers_mode": Text(choices=("graduated", "volume")),
    "transform_quantity": Shape(
        fields={"divide_by": Whole(required=True, least=1), "round": Text(required=True, choices=("down", "up"))}
    ),
}


def read_tariff(params: Mapping[str, Any]) -> Tariff:
    """The tariff that a new price asks for.

    Raises:
        StripeProblem: no amount, two of them, or tiers that do not fit together.
    """
    if params.get("billing_scheme") == "tiered":
        return _tiered(params)
    for name in ("tiers", "tiers_mode"):
        if name in params:
            raise invalid(f"`{name}` can only be set when `billing_scheme=tiered`.", name)
    amount = _amount(params, "unit_amount")
    if amount is None:
        raise missing("unit_amount")
    packages = params.get("transform_quantity", {})
    return Tariff(unit_amount=amount, divide_by=packages.get("divide_by", 1), rounds=packages.get("round", "up"))


def _tiered(params: Mapping[str, Any]) -> Tariff:
    for name in ("unit_amount", "unit_amount_decimal", "transform_quantity"):
        if name in params:
            raise invalid(f"`{name}` cannot be set when `billing_scheme=tiered`.", name)
    for name in ("tiers", "tiers_mode"):
        if not params.get(name):
            raise missing(name)
    tiers = tuple(_tier(asked, at) for at, asked in enumerate(params["tiers"]))
    ends = [tier.up_to for tier in tiers]
    below = [end for end in ends[:-1] if end is not None]
    if ends[-1] is not None or len(below) != len(ends) - 1 or below != sorted(set(below)):
        raise invalid("Tiers must have ascending `up_to` values, and the last one must be `inf`.", "tiers")
    return Tariff(tiers=tiers, tiers_mode=params["tiers_mode"])


def _tier(asked: Mapping[str, Any], at: int) -> Tier:
    unit, flat = _amount(asked, "unit_amount"), _amount(asked, "flat_amount")
    if unit is None and flat is None:
        raise missing(f"tiers[{at}][unit_amount]")
    up_to = None if asked["up_to"] == "inf" else asked["up_to"]
    return Tier(up_to=up_to, unit_amount=unit or Decimal(0), flat_amount=flat or Decimal(0))


def _amount(asked: Mapping[str, Any], name: str) -> Decimal | None:
    if name in asked and f"{name}_decimal" in asked:
        raise invalid(f"You may only specify one of these parameters: {name}, {name}_decimal.", name)
    if name in asked:
        return Decimal(asked[name])
    found: Decimal | None = asked.get(f"{name}_decimal")
    return found


def read_meter(world: World, recurring: Mapping[str, Any]) -> str | None:
    """The meter of a metered price.

    Raises:
        Refused: metered without a meter, a meter without being metered, or one that is not active.
        NoSuchRecord: no such meter.
    """
    meter_id: str | None = recurring.get("meter")
    if (recurring.get("usage_type") == "metered") != (meter_id is not None):
        message = "A price with `usage_type=metered` must be backed by a meter, and no other price can be."
        raise Refused(message, param="recurring[meter]")
    if meter_id is None:
        return None
    meter = find(world.tables.meters, "meter", meter_id)
    if not meter.active:
        raise Refused(f"The meter {meter_id} is not active.", param="recurring[meter]")
    return meter.id
