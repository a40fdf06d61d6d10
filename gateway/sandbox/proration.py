"""What part of a price a part of its period costs. Amounts are cents; time counts to the second."""

from __future__ import annotations


def prorate(amount: int, remaining_s: int, period_s: int) -> int:
    """`amount` times `remaining_s` / `period_s`, rounded to the nearest cent, halves up.

    Source: https://docs.stripe.com/billing/subscriptions/prorations (to the second; each line is rounded).
    """
    return (2 * amount * remaining_s + period_s) // (2 * period_s)
