"""What a customer may have, told from Stripe's side and the law of its town. Written without a look at the gateway.

A status keeps the plan's tier for good, or for a time, or not at all; then something else comes (`laws`). What is
true beside the status, a dispute, a pause or a change that waits, lowers what it gives in the same way. Of several
subscriptions the highest tier counts, then the one that is nearest to being paid. A tier by hand only raises, and
lifts no suspension. What ended and was never paid for, or whose money is gone, is kept no longer than before: then
comes what comes after it.

Since when a payment was due, or a subscription is paused: at the latest when all was seen for the first time after
Stripe had it, and to see it again later changes nothing. Not before Stripe had it; but who saw it, then nothing of
how it ended, and then the next one, cannot tell the two apart, and goes on counting from the first.

A status that nobody knows keeps the plan that was in good standing when it was last seen, for a time that begins in the
same way; whoever saw none keeps nothing. While it is shown nobody sees what it hides: what is due beneath it is seen
when it is over.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from gateway.sandbox.engine.charges import CLOSED
from tests.lives.debits import is_never_paid
from tests.lives.laws import (
    DISPUTED,
    FREE,
    LOST,
    NEVER_PAID,
    PAUSED,
    PENDING,
    REFUNDED,
    SUSPENDED,
    UNPAID,
    UNREADABLE,
    VOIDED,
    Law,
)
from tests.lives.losses import taken_back
from tests.lives.sold import TIERS
from tests.lives.unheard import UNHEARD, shown_status

if TYPE_CHECKING:
    from gateway.sandbox.records import Subscription
    from gateway.sandbox.world import World

RANK = {FREE: 0, "pro": 1, "enterprise": 2}
CANCELED = "canceled"
_NOT_PAID_FOR = (NEVER_PAID, LOST, REFUNDED)
_NEAREST_LAST = (CANCELED, "incomplete", "paused", "unpaid", "past_due", "trialing", "active")
GOOD = frozenset({"active", "trialing"})
_Answer = tuple[int, int, str]
"""Rank of the tier if it is the plan's and -1 if not, how near to being paid, what a call is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One subscription as Stripe had it."""

    status: str
    tier: str
    subscription_id: str = ""
    since: int | None = None
    """When a payment came due, or it ended."""
    given_up: tuple[int, int] | None = None
    """Since when it is unpaid, or has a status that nobody knows, at the earliest and at the latest."""
    due_shown_at: int | None = None
    """Since when at the latest Stripe shows that a payment is due."""
    last_good: tuple[str | None, ...] = ()
    """Tiers of which one was seen last in good standing; None: none may have been."""
    beside: tuple[tuple[str, int, int], ...] = ()
    """What is true beside the status, since when at the earliest, and at the latest."""


@dataclass(slots=True)
class Begun:
    """Since when something is true beside a status, of all subscriptions of one buyer."""

    since: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Of a subscription and a word: since when one may count it who knows what was so at the last rest; and since
    when it is so."""
    over: set[tuple[str, str]] = field(default_factory=set)
    good: dict[str, set[str | None]] = field(default_factory=dict)
    """Of a subscription: tiers that it had in good standing; one of them was seen last, or none (None)."""
    shown_since: dict[str, int] = field(default_factory=dict)
    """Since when the status of a subscription is known again."""

    def note(self, subscription_id: str, words: Sequence[str], now: int) -> tuple[tuple[str, int, int], ...]:
        """What is so now."""
        for key in [key for key in self.since if key[0] == subscription_id and key[1] not in words]:
            if key[1] == UNREADABLE and key not in self.over:
                self.shown_since[subscription_id] = now
            self.over.add(key)
        for word in words:
            key = subscription_id, word
            first, latest = self.since.get(key, (now, now))
            self.since[key] = first, now if key in self.over else latest
            self.over.discard(key)
        return tuple((word, *self.since[subscription_id, word]) for word in words)

    def given_up(self, subscription_id: str) -> tuple[int, int]:
        """Since when it is unpaid. Who saw another one unpaid, and nothing between, counts from there."""
        first = min(first for (_, word), (first, _) in self.since.items() if word == UNPAID)
        return first, self.since[subscription_id, UNPAID][1]

    def unreadable(self, subscription_id: str) -> tuple[int, int]:
        """Since when its status is none that is known."""
        return self.since[subscription_id, UNREADABLE]

    def note_tier(self, subscription_id: str, tier: str | None) -> tuple[str | None, ...]:
        """The tier that a subscription has in good standing, if it is in that and shows it."""
        tiers = self.good.setdefault(subscription_id, {None})
        if tier is not None:
            tiers.add(tier)
        return tuple(tiers)

    def settle(self, truth: Truth) -> None:
        """Everything is known: what is over is over, and this was seen."""
        for key in self.over:
            del self.since[key]
        self.over.clear()
        for one in truth.subscriptions:
            if one.status in GOOD:
                self.good[one.subscription_id] = {one.tier}


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What Stripe had of one customer at one instant."""

    at: int
    subscriptions: tuple[Seen, ...]

    def allowed(self, law: Law, now: float, seen_at: Sequence[float], owed_since: int | None = None) -> set[str]:
        """What may be granted `now` by one who saw this.

        Args:
            law: Of the town.
            now: Unix seconds.
            seen_at: When all was seen, in order.
            owed_since: Since when one who was not told of a payment may count what is due.
        """
        if not self.subscriptions:
            return {law.then("none")}
        options = [self._of_one(one, law, now, seen_at, owed_since) for one in self.subscriptions]
        return {answer for combination in product(*options) for answer in _best(combination)}

    def _of_one(self, one: Seen, law: Law, now: float, seen_at: Sequence[float], owed: int | None) -> list[_Answer]:
        """More than one while nobody can say which."""
        near = _NEAREST_LAST.index(one.status) if one.status in _NEAREST_LAST else -1
        first = last = float(one.since or 0)
        if one.status == "past_due":
            assert one.since is not None
            first = first if owed is None else min(owed, one.since)
            shown_at = one.since if one.due_shown_at is None else one.due_shown_at
            last = next((seen for seen in seen_at if seen >= shown_at), now)
        if one.given_up is not None:
            first, last = one.given_up[0], self._seen(one.given_up[1], now, seen_at)
            if one.status == UNHEARD:  # who has several is looked at all the same
                last = next((seen for seen in seen_at if seen >= one.given_up[1]), now)
        row = UNREADABLE if one.status == UNHEARD else one.status
        lapsed = -1, near, law.then(row)
        kept = [lapsed if tier is None else (RANK[tier], near, tier) for tier in one.last_good or (one.tier,)]
        overs = _is_over(law.rule(row).keep_s, first, last, now)
        answers = [answer for is_over in overs for answer in ([lapsed] if is_over else kept)]
        for word, since, latest in one.beside:
            seen = float(latest)
            if word != DISPUTED:  # Stripe says when that began
                seen = self._seen(latest, now, seen_at)
            overs = _is_over(law.rule(word).keep_s, since, seen, now)
            then = one.status if word in _NOT_PAID_FOR and one.status == CANCELED else word
            answers = [_lowered(answer, law, then) if is_over else answer for answer in answers for is_over in overs]
        return answers

    def _seen(self, latest: int, now: float, seen_at: Sequence[float]) -> float:
        """When what is so since then was seen at the latest. While another subscription counted, nobody looked."""
        return now if len(self.subscriptions) > 1 else next((seen for seen in seen_at if seen >= latest), now)

    @property
    def dues(self) -> list[int]:
        """Since when payments are due."""
        return [one.since for one in self.subscriptions if one.status == "past_due" and one.since is not None]


def owed_since(before: int | None, truths: Sequence[Truth]) -> int | None:
    """Since when one may count what is due who has seen the last of these truths, and any of the others or none.

    A status that nobody knows says of nothing that it was paid.
    """
    if not truths[-1].dues and all(one.status != UNHEARD for one in truths[-1].subscriptions):
        return None
    dues = [since for truth in truths for since in truth.dues]
    return min(dues if before is None else [before, *dues], default=None)


def raised(answer: str, grant: tuple[str, int] | None, now: float) -> str:
    """With a tier by hand, until an instant."""
    if grant is None or now >= grant[1] or answer == SUSPENDED or RANK.get(answer, -1) >= RANK[grant[0]]:
        return answer
    return grant[0]


def _is_over(keep_s: int | None, first: float, last: float, now: float) -> list[bool]:
    """Whether a time has passed that began between two instants."""
    if keep_s is None:
        return [False]
    return [over for over, may_be in ((False, now < last + keep_s), (True, now >= first + keep_s)) if may_be]


def _lowered(answer: _Answer, law: Law, word: str) -> _Answer:
    _, near, granted = answer
    then = law.then(word)
    if RANK.get(granted, -1) <= RANK.get(then, -1) and (then != SUSPENDED or word == LOST):
        return answer
    return -1, near, then


def _best(answers: tuple[_Answer, ...]) -> set[str]:
    """The highest tier; without one, what would help most."""
    most = max(answer[:2] for answer in answers)
    return {answer for *by, answer in answers if tuple(by) == most}


def truth_of(
    world: World, stripe_customer_id: str | None, begun: Begun | None = None, unheard: Collection[str] = ()
) -> Truth:
    """What is so now. Of a customer that was deleted, Stripe lists what it had, ended. `unheard`: as `shown_status`."""
    if stripe_customer_id is None:
        return Truth(at=world.now, subscriptions=())
    found = world.subscriptions_of(stripe_customer_id)
    begun = Begun() if begun is None else begun
    disputed = _disputed_since(world, stripe_customer_id)
    return Truth(
        at=world.now,
        subscriptions=tuple(_seen(world, one, shown_status(one, unheard), begun, disputed) for one in found),
    )


def _disputed_since(world: World, customer_id: str) -> int | None:
    charges = world.tables.charges
    opened = [
        one.created
        for one in world.tables.disputes.values()
        if one.status not in CLOSED and charges[one.charge_id].customer_id == customer_id
    ]
    return min(opened, default=None)


def _seen(world: World, one: Subscription, status: str, begun: Begun, disputed_since: int | None) -> Seen:
    tier = max((TIERS[item.price_id] for item in one.items if item.price_id in TIERS), key=RANK.__getitem__)
    words = []
    if one.ended_at is None and one.pause_behavior is not None:
        words.append(VOIDED if one.pause_behavior == "void" else PAUSED)
    if one.ended_at is None and one.pending_update is not None:
        words.append(PENDING)
    if is_never_paid(world, one):
        words.append(NEVER_PAID)
    words += taken_back(world, one)
    if status in {UNPAID, UNHEARD}:
        words.append(UNPAID if status == UNPAID else UNREADABLE)
    beside = tuple(row for row in begun.note(one.id, words, world.now) if row[0] not in {UNPAID, UNREADABLE})
    given_up = begun.given_up(one.id) if status == UNPAID else None
    last_good = begun.note_tier(one.id, tier if status in GOOD else None)
    if status == UNHEARD:
        given_up = begun.unreadable(one.id)
    if disputed_since is not None:
        beside = ((DISPUTED, disputed_since, disputed_since), *beside)
    beside = tuple(sorted(beside))  # what refuses first is what is told
    since = one.past_due_since if one.ended_at is None else one.ended_at
    return Seen(
        subscription_id=one.id,
        status=status,
        tier=tier,
        since=since,
        given_up=given_up,
        due_shown_at=None if since is None else max(since, begun.shown_since.get(one.id, since)),
        last_good=last_good if status == UNHEARD else (),
        beside=beside,
    )
