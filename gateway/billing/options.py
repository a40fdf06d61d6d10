"""How to reach Stripe, and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

TIMEOUT_S = 5.0
"""Seconds for one step of one try: to connect, or for the next byte."""
DEADLINE_S = 20.0
"""Seconds for a whole call, its retries included. Longer than three time-outs and their pauses."""
SEARCHES_PER_S = 16.0
"""Of all processes together. Stripe answers 20: https://docs.stripe.com/rate-limits"""
SEARCH_PATIENCE_S = 10.0
"""How long a buyer waits for the search; then 503 with Retry-After."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeOptions:
    """How to reach Stripe, and as whom."""

    secret_key: str | None = field(repr=False)
    """Secret or restricted key; its mode is this gateway's. None: there is no Stripe."""
    base_url: str | None = None
    """The sandbox; None is Stripe itself."""
    portal_configuration: str | None = None
    """Which configuration of the portal its pages have; None: the account's default."""
    price_ttl_s: float = 300.0
    """Seconds a price is shown before it is read again."""
    timeout_s: float = TIMEOUT_S
    deadline_s: float = DEADLINE_S
    searches_per_s: float = SEARCHES_PER_S
    """Searches that this process begins within a second; who comes in a crowd waits for its turn."""
    search_patience_s: float = SEARCH_PATIENCE_S
    background_per_s: float = inf
    """Requests a second that background work of this process may send. By default it has no pace of its own."""
