"""What a subscription, or the checkout that makes one, begins with: a coupon, or a code that stands for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.sandbox.engine.discounts import coupon_of
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.wire.params import Each, Text
from gateway.sandbox.wire.problems import invalid
from gateway.sandbox.world import World, find

DISCOUNTS = Each(fields={"coupon": Text(), "promotion_code": Text()})


def read_discount(world: World, params: Mapping[str, Any], too_many: str) -> tuple[str | None, str | None]:
    """The coupon, and the code that stood for it.

    Args:
        world: Where they are.
        params: With `discounts`, or without.
        too_many: What is said to more than one.

    Raises:
        Refused, StripeProblem, NoSuchRecord: none of these can be redeemed.
    """
    discounts = params.get("discounts", [])
    if len(discounts) > 1:
        raise invalid(too_many, "discounts")
    for discount in discounts:
        if ("coupon" in discount) == ("promotion_code" in discount):
            raise Refused("You may only specify one of these parameters: coupon, promotion_code.", param="discounts")
        if "coupon" in discount:
            return coupon_of(world, discount["coupon"], "discounts[0][coupon]").id, None
        code = find(world.tables.promotion_codes, "promotion_code", discount["promotion_code"])
        return coupon_of(world, code.coupon_id, "discounts[0][promotion_code]").id, code.id
    return None, None
