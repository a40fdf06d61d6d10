"""The sandbox's one tax: a fifth on everything, on top of the price, wherever the customer lives."""

from __future__ import annotations

PERCENT = 20
RATE_ID = "txr_sandbox"
_WHOLE = 100


def tax_of(amount: int) -> int:
    """The tax on an amount, rounded half away from zero; negative on a credit."""
    rounded = (abs(amount) * PERCENT + _WHOLE // 2) // _WHOLE
    return rounded if amount >= 0 else -rounded
