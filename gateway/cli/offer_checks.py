"""Does Stripe have what plans are sold with: the coupons and the prices of add-ons that policy names?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.currency_checks import MEND_OPTIONS, find_lack
from gateway.cli.findings import Finding, fail, ok, warn
from gateway.core.errors import BillingRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gateway.billing import Billing, CouponFacts, PriceFacts
    from gateway.core.offer import AddOn
    from gateway.core.policy import Plan, Policy

_WRONG_LINE = "Correct the line in the policy, or make it at Stripe (dashboard: Product catalogue)."


async def check_offers(billing: Billing, policy: Policy) -> list[Finding]:
    """One finding for each coupon and each add-on; none if policy has neither."""
    return [*await _coupons(billing, policy), *await _add_ons(billing, policy)]


async def _coupons(billing: Billing, policy: Policy) -> list[Finding]:
    plans: dict[str, list[str]] = {}
    for plan in policy.plans.values():
        if plan.terms.coupon is not None:
            plans.setdefault(plan.terms.coupon, []).append(plan.plan_id)
    findings = []
    for coupon_id, names in plans.items():
        whose = f"coupon {coupon_id!r} of plan {' and '.join(names)}"
        try:
            coupon = await billing.find_coupon(coupon_id)
        except BillingRefused as error:
            findings.append(fail("coupons", f"{whose} cannot be read: {error}", "Allow the key to read coupons."))
            continue
        if coupon is None:
            findings.append(fail("coupons", f"Stripe does not have the {whose}: its checkouts fail", _WRONG_LINE))
        elif not coupon.is_valid:
            findings.append(fail("coupons", f"the {whose} is used up or over: its checkouts fail", _WRONG_LINE))
        else:
            findings.append(ok("coupons", f"{whose} can be redeemed"))
            findings += await _goes_along(billing, policy, coupon, coupon_id, whose)
    return findings


async def _goes_along(
    billing: Billing, policy: Policy, coupon: CouponFacts, coupon_id: str, whose: str
) -> list[Finding]:
    """Whether it lowers what plans cost that are not sold with it: a coupon stays through every change of plan."""
    others = [plan for plan in policy.plans.values() if plan.terms.coupon != coupon_id]
    try:
        prices = await billing.fetch_prices(others)
    except BillingRefused:  # a finding about the prices says so
        return []
    lowered = [
        plan.plan_id
        for plan in others
        if (price := prices.get(plan.plan_id)) is not None
        and (not coupon.products or price.product_id in coupon.products)
    ]
    if not lowered:
        return []
    return [
        warn(
            "coupons",
            f"the {whose} lowers {' and '.join(lowered)} too: whoever changes to another plan takes it along",
            "Make a coupon that is for the product of its own plans only (`applies_to` in Stripe's API; dashboard: "
            "Coupons, Apply to specific products), and name that one in the policy.",
        )
    ]


async def _add_ons(billing: Billing, policy: Policy) -> list[Finding]:
    if not policy.add_ons:
        return []
    try:
        prices = await billing.fetch_add_on_prices(policy.add_ons)
    except BillingRefused as error:
        return [fail("add-ons", f"the add-ons' prices cannot be read: {error}", "See the finding about the key.")]
    found = [_add_on(add_on, prices.get(name)) for name, add_on in policy.add_ons.items()]
    try:
        plans = await billing.fetch_prices(policy.plans.values())
        return [*found, *[one async for one in _apart(billing, policy, plans, prices)]]
    except BillingRefused as error:
        return [*found, fail("add-ons", f"prices cannot be read: {error}", "See the finding about the key.")]


async def _apart(
    billing: Billing, policy: Policy, plans: Mapping[str, PriceFacts], add_ons: Mapping[str, PriceFacts]
) -> AsyncIterator[Finding]:
    """Each plan with each of its add-ons that does not fit it: only Stripe knows how prices are paid."""
    for plan in policy.plans.values():
        for name in plan.add_ons:
            own, price = plans.get(plan.plan_id), add_ons.get(name)
            if own is None or price is None or None in {own.interval, price.interval}:
                continue  # another finding says so
            if (price.interval, price.interval_count) != (own.interval, own.interval_count):
                paid = f"paid every {price.interval_count} {price.interval}"
                yield fail(
                    "add-ons",
                    f"{_never(plan, name)}: it is {paid}, and the plan every {own.interval_count} {own.interval}",
                    "Make an add-on of its own for that plan, with a price of the plan's interval.",
                )
            elif price.currency != own.currency:
                yield await _in_another(billing, plan, name, own, price)
            elif (lack := await find_lack(billing, own, price)) is not None:
                yield warn("add-ons", f"add-on {name!r} beside plan {plan.plan_id!r}: {lack}", MEND_OPTIONS)


def _never(plan: Plan, name: str) -> str:
    return f"add-on {name!r} is never sold with plan {plan.plan_id!r}"


async def _in_another(billing: Billing, plan: Plan, name: str, own: PriceFacts, price: PriceFacts) -> Finding:
    """Of an add-on whose own currency is not the plan's: no checkout takes both, and a subscription may by options."""
    fix = "Make both prices in one currency first, and add the others as options."
    first, of_plan = price.currency.upper(), own.currency.upper()
    both = await billing.fetch_currencies(own.price_id) & await billing.fetch_currencies(price.price_id)
    named = " or ".join(one.upper() for one in sorted(both))
    if not both:
        return fail("add-ons", f"{_never(plan, name)}: it is in {first}, and the plan in {of_plan}", fix)
    return warn(
        "add-ons",
        f"add-on {name!r} is not sold at a checkout of plan {plan.plan_id!r}, for it is first in {first}, and the plan "
        f"in {of_plan}: only who has the plan already, and pays in {named}, can add it",
        fix,
    )


def _add_on(add_on: AddOn, price: PriceFacts | None) -> Finding:
    sold_at = f"price {add_on.price_id}" if add_on.lookup_key is None else f"lookup key {add_on.lookup_key}"
    if price is None or not price.active:
        return fail("add-ons", f"add-on {add_on.name!r}: Stripe has no active {sold_at}", _WRONG_LINE)
    if price.interval is None:
        text = f"add-on {add_on.name!r}: {sold_at} is paid once, not recurring"
        return fail("add-ons", text, "Make a recurring price: it is an item of a subscription.")
    return ok("add-ons", f"add-on {add_on.name!r} is {price.amount_text or 'a tiered price'} ({sold_at})")
