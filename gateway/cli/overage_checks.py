"""Does Stripe bill overage as policy says: the metered prices, the meters behind them, and their currencies?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.currency_checks import MEND_CAP, MEND_OPTIONS, find_lack, find_uncapped
from gateway.cli.findings import Finding, fail, ok, warn
from gateway.core.errors import BillingRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.billing import Billing, PriceFacts
    from gateway.billing.meter_facts import MeterFacts
    from gateway.core.overage import Overage
    from gateway.core.policy import Plan, Policy

_WRONG_LINE = "Correct the line in the policy, or make it at Stripe (dashboard: Product catalogue)."
_WRONG_METER = "Make the price of a meter that fits (dashboard: Billing, Meters): usage is reported, and not billed so."


async def check_overages(billing: Billing, policy: Policy) -> list[Finding]:
    """What is wrong with the overage of each plan, or that it is right; none if policy has no overage."""
    found: list[Finding] = []
    for plan in policy.plans.values():
        for overage in policy.tiers[plan.tier].overages:
            try:
                found += await _check(billing, plan, overage)
            except BillingRefused as error:
                what = f"overage of plan {plan.plan_id!r} cannot be read: {error}"
                found.append(fail("overage", what, "Allow the key to read prices and billing meters."))
    return found


async def _check(billing: Billing, plan: Plan, overage: Overage) -> list[Finding]:
    name = dict(plan.overage_prices).get(overage.meter, overage.price)
    shown = f"price {name.price_id}" if name.lookup_key is None else f"lookup key {name.lookup_key}"
    what = f"overage of {overage.meter} in plan {plan.plan_id!r} ({shown})"
    price = await billing.find_overage_price(name)
    if price is None or not price.active:
        return [fail("overage", f"{what}: Stripe has no such active price; its checkouts fail", _WRONG_LINE)]
    if price.meter_id is None:
        return [fail("overage", f"{what}: it is no metered price; its checkouts fail", _WRONG_LINE)]
    meter = await billing.fetch_meter(price.meter_id)
    own = (await billing.fetch_prices([plan])).get(plan.plan_id)
    wrong = [*_of_meter(meter, overage), *_of_price(price, own, overage)]
    if wrong:
        return [fail("overage", f"{what}: {text}", fix) for text, fix in wrong]
    if own is None:
        return [ok("overage", f"{what} is billed by meter {meter.event_name!r}")]
    doubts = [(await find_lack(billing, own, price), MEND_OPTIONS)]
    if overage.spend_cap is not None:
        doubts.append((await find_uncapped(billing, own, price, overage.spend_cap[1]), MEND_CAP))
    if told := [warn("overage", f"{what}: {text}", fix) for text, fix in doubts if text is not None]:
        return told
    return [ok("overage", f"{what} is billed by meter {meter.event_name!r}")]


def _of_meter(meter: MeterFacts, overage: Overage) -> Iterator[tuple[str, str]]:
    if meter.event_name != overage.stripe_meter:
        yield (
            f"it bills the meter {meter.event_name!r}, and usage is reported to {overage.stripe_meter!r}",
            "Correct `stripe_meter`, or name a price of that meter: what is reported is billed nowhere.",
        )
    if not meter.is_active:
        yield f"its meter {meter.event_name!r} is not active", _WRONG_METER
    if meter.formula != "sum":
        yield f"its meter {meter.event_name!r} does not add up (sum), it is {meter.formula!r}", _WRONG_METER
    if (meter.customer_key, meter.value_key) != ("stripe_customer_id", "value"):
        keys = f"{meter.customer_key!r} and {meter.value_key!r}"
        yield f"its meter {meter.event_name!r} reads {keys}, not 'stripe_customer_id' and 'value'", _WRONG_METER


def _of_price(price: PriceFacts, own: PriceFacts | None, overage: Overage) -> Iterator[tuple[str, str]]:
    fix = "Name a price that fits with `overage_price` of the plan."
    if own is not None and (price.interval, price.interval_count) != (own.interval, own.interval_count):
        count, own_count = price.interval_count, own.interval_count
        yield f"it is paid every {count} {price.interval}, and the plan every {own_count} {own.interval}", fix
    if own is not None and price.currency != own.currency:
        yield f"it is in {price.currency.upper()}, and the plan in {own.currency.upper()}", fix
    if overage.spend_cap is not None and overage.spend_cap[1] != price.currency:
        yield f"it is in {price.currency.upper()}, and `spend_cap` is not: there is no overage", fix
