"""A claim on N limits at once, and the answer to it.

The cache's charge script decides; these are the values that go in and come out. All or
nothing: a refused charge changes no counter. Amounts are whole units; instants in
milliseconds end in `_ms`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class RateClaim:
    """`cost` units of one leaky bucket."""

    field: str
    cost: int
    units: int
    window_ms: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaClaim:
    """`cost` units of one window's quota, the window being `[starts_at, ends_at)`, Unix seconds."""

    field: str
    cost: int
    limit: int
    starts_at: int
    ends_at: int
    passes_on: bool = False
    """What it cannot cover is asked of the next claim, a quota too. Such claims with the one that ends them are
    a chain, all of one `cost`: each takes what it can, in order, and the last must cover the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyClaim:
    """A place among the calls in progress, of which there are `limit`."""

    field: str
    limit: int
    cost: int = 1
    """Places, and never another number of them."""


Claim: TypeAlias = RateClaim | QuotaClaim | ConcurrencyClaim


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRequest:
    """What one request wants to spend.

    No claims at all is meaningful: it only asks whether `version` is still current.
    """

    customer_id: str
    version: int
    """Version of the account the caller decided on; 0 if it holds none."""
    claims: tuple[Claim, ...]
    now_ms: int = 0
    """0 reads the cache server's own clock; anything else replaces it (tests, sandbox)."""
    call_id: str = ""
    """Of the call that begins, unique. Needed where a claim is for a place among those in progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """One limit after the decision, in the order of the request's claims; a chain is one limit."""

    remaining: int
    """Units that could be spent right now, >= 0."""
    reset_ms: int
    """Milliseconds until more is available: a quota's window end; for a rate, until the bucket is
    empty again, or, if it said no, until it would allow this cost. When a call in progress ends is not
    known: 0, or, if there was no place, when to try again."""
    allowed: bool
    last: int = field(default=0, compare=False)
    """Of `remaining`, what the last claim of a chain would cover. For showing only, so it is not compared."""
    outlasting: int | None = field(default=None, compare=False)
    """Of a chain that said no: of `remaining`, what is still there when its first has reset, if nobody spends it.
    None: it is no such chain. For the refusal's words only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    """Every limit allowed the cost, and every counter was moved."""

    now_ms: int
    states: tuple[LimitState, ...]
    """One for each claim that stands alone, and one for each chain."""
    taken: tuple[int, ...] = ()
    """Units that each claim took. Empty: there was no chain, so each took its cost."""
    seq: int = field(default=0, compare=False)
    """Of the customer's counters after it (`UsageReading.seq`); 0: nothing was spent. For its receipt only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeRefused:
    """At least one limit said no, and no counter was moved."""

    now_ms: int
    states: tuple[LimitState, ...]
    """As in `Charged`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountStale:
    """The account changed since `version`: here is the current one. Nothing was spent."""

    now_ms: int
    version: int
    account: bytes
    """As `encode_account` wrote it. Empty: too large to be sent where everybody's calls are charged; load it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMissing:
    """The cache does not know this customer (never loaded, evicted or flushed). Nothing was spent."""

    now_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMoved:
    """A claim's window does not contain the cache's time: recompute the windows for `now_ms`."""

    now_ms: int


ChargeAnswer: TypeAlias = Charged | ChargeRefused | AccountStale | AccountMissing | WindowMoved
