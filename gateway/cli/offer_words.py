"""What `policy show` says about what is for sale: plans and add-ons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.limit_text import limit_words

if TYPE_CHECKING:
    from gateway.core.offer import AddOn, CheckoutTerms
    from gateway.core.policy import Plan


def plan_words(plan: Plan) -> str:
    """`team  lookup key team_monthly, seats 1 to 100, with exports`."""
    words = f"{plan.tier}  {_price_words(plan.price_id, plan.lookup_key)}"
    if plan.seats is not None:
        words += f", seats {plan.seats.words}"
    if plan.add_ons:
        words += f", with {' and '.join(plan.add_ons)}"
    return words + "".join(f", {term}" for term in _term_words(plan.terms))


def _term_words(terms: CheckoutTerms) -> list[str]:
    words = []
    if terms.trial is not None:
        end = "" if terms.trial.without_card is None else f" (without a card: {terms.trial.without_card})"
        words.append(f"{terms.trial.days} days free{end}")
    if terms.billing_address:
        words.append("billing address required")
    if terms.promotion_codes:
        words.append("promotion codes")
    if terms.coupon is not None:
        words.append(f"coupon {terms.coupon}")
    if terms.tax:
        words.append("automatic tax")
    return words


def add_on_words(add_on: AddOn) -> str:
    """`lookup key more_requests, adds 10_000 requests per billing period`."""
    adds = [*(limit_words(limit) for limit in add_on.limits), *sorted(add_on.features)]
    return f"{_price_words(add_on.price_id, add_on.lookup_key)}, adds {', '.join(adds)}"


def _price_words(price_id: str | None, lookup_key: str | None) -> str:
    return f"price {price_id}" if lookup_key is None else f"lookup key {lookup_key}"
