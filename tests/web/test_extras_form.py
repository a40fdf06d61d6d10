"""What the form of seats and add-ons asks for, against a record whose plan policy may call otherwise by now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.offer import SeatRange
from gateway.core.policy import Plan
from gateway.web.extras_form import asked_extras
from tests.core.test_projection import POLICY, customer, item, recorded, subscription

BY_THE_SEAT = SeatRange(least=2, most=9)
TWELVE = recorded(customer(subscription("active", item("pro_monthly", quantity=12))))
"""More than policy sells."""


def sold_as(plan_id: str) -> Plan:
    return replace(POLICY.plans["pro-monthly"], plan_id=plan_id, seats=BY_THE_SEAT)


@pytest.mark.parametrize("plan_id", ["pro-monthly", "pro"], ids=["as it was called", "renamed"])
@pytest.mark.parametrize("fields", [{}, {"seats": "12"}], ids=["not asked for", "as they are"])
def test_seats_that_policy_does_not_sell_stay_with_their_plan_whatever_it_is_called(
    plan_id: str, fields: dict[str, str]
) -> None:
    plan = sold_as(plan_id)
    assert asked_extras(fields, plan, TWELVE, replace(POLICY, plans={plan_id: plan})).seats is None


def test_seats_that_another_plan_is_not_sold_with_become_the_nearest_number() -> None:
    other = replace(POLICY.plans["enterprise"], seats=BY_THE_SEAT)
    policy = replace(POLICY, plans={"pro": sold_as("pro"), "enterprise": other})
    assert asked_extras({}, other, TWELVE, policy).seats == 9
    assert asked_extras({"seats": "12"}, other, TWELVE, policy).seats == 12, "which is refused"
