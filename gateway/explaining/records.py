"""What is kept of a decision: a few numbers, and facts that it shares with others."""

from __future__ import annotations

import msgspec

TEXT_LENGTH = 256
"""Characters of a path and of a detail."""

ADMITTED = "admitted"
REPEATED = "repeat"
"""In metrics: admitted, and paid for by the call that it repeats."""


class LimitSeen(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One limit as the decision saw it."""

    name: str
    quota: int
    window_s: int
    cost: int
    remaining: int | None = None
    reset_s: int | None = None
    allowed: bool | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What many decisions have in common: those of one key on one route, as long as nothing changes."""

    policy_hash: str
    customer_id: str | None = None
    user_id: str | None = None
    account_version: int | None = None
    key_id: str | None = None
    key_last4: str | None = None
    route: str | None = None
    tier: str | None = None
    plan: str | None = None
    standing: str | None = None
    warning: str | None = None
    limits: tuple[LimitSeen, ...] = ()
    """As policy has them, without states."""


class Record(msgspec.Struct, kw_only=True, array_like=True):
    """One decision, as it is kept. Whoever made it goes on filling it in until the exchange has ended."""

    number: int
    at: float
    method: str
    path: str
    request_id: str = ""
    """Empty: the decision id."""
    verdict: str = ADMITTED
    detail: str = ""
    states: list[int] = []
    """Of each limit: what remains, milliseconds until its reset, 1 if it allowed."""
    decision_ms: float = 0.0
    status: int | None = None
    refunded: bool = False
    duration_ms: float | None = None
    facts: int = 0
    """Which of its page's; set when the page is written."""
    outage: str = ""
    """`deny`, `allow` or `local`: the cache could not decide, and this is what policy said."""
    settled: dict[str, int] = {}
    """Units by meter that it turned out to cost, of meters that are settled."""
    leased: bool = False


class Decision(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What was decided about one request, on which facts. Holds no key text and no query string.

    `at` is Unix seconds; the last four fields are filled in when the exchange has ended.
    """

    decision_id: str
    at: float
    verdict: str
    """`admitted`, or the problem code of the refusal."""
    detail: str = ""
    method: str
    path: str
    policy_hash: str
    request_id: str = ""
    customer_id: str | None = None
    user_id: str | None = None
    account_version: int | None = None
    key_id: str | None = None
    key_last4: str | None = None
    route: str | None = None
    tier: str | None = None
    plan: str | None = None
    standing: str | None = None
    warning: str | None = None
    limits: tuple[LimitSeen, ...] = ()
    decision_ms: float = 0.0
    status: int | None = None
    refunded: bool = False
    settled: dict[str, int] = {}
    duration_ms: float | None = None
    outage: str = ""
    """`deny`, `allow` or `local`, if the cache could not decide: which rule of the tier did."""
    leased: bool = False
    """Let through by a lease of the worker: the limits are as the lease knew them."""


def cut(text: str) -> str:
    """At most `TEXT_LENGTH` characters of a text."""
    return text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"
