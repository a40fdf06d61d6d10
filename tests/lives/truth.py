"""What a customer may have, told from Stripe's side and the law of its town. Written without a look at the gateway.

A status keeps the plan's tier for good, or for a time, or not at all; then something else comes (`laws`). What is
true beside the status, a dispute, a pause or a change that waits, lowers what it gives in the same way. Of several
subscriptions the highest tier counts, then the one that is nearest to being paid. A tier by hand only raises, and
lifts no suspension. What ended and was never paid for, or whose money is gone, is kept no longer than before: then
comes what comes after it.

Since when a payment was due, or a subscription is paused: at the latest when all was seen for the first time after
Stripe had it, and to see it again later changes nothing. Not before Stripe had it; but who saw it, then nothing of
how it ended, and then the next one, cannot tell the two apart, and goes on counting from the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from gateway.sandbox.engine.charges import CLOSED
from tests.lives.debits import is_never_paid
from tests.lives.laws import DISPUTED, FREE, LOST, NEVER_PAID, PAUSED, PENDING, REFUNDED, SUSPENDED, UNPAID, VOIDED, Law
from tests.lives.losses import taken_back
from tests.lives.sold import TIERS

if TYPE_CHECKING:
    from gateway.sandbox.records import Subscription
    from gateway.sandbox.world import World

RANK = {FREE: 0, "pro": 1, "enterprise": 2}
CANCELED = "canceled"
_NOT_PAID_FOR = (NEVER_PAID, LOST, REFUNDED)
_NEAREST_LAST = (CANCELED, "incomplete", "paused", "unpaid", "past_due", "trialing", "active")
_Answer = tuple[int, int, str]
"""Rank of the tier if it is the plan's and -1 if not, how near to being paid, what a call is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One subscription as Stripe had it."""

    status: str
    tier: str
    since: int | None = None
    """When a payment came due, or it ended."""
    given_up: tuple[int, int] | None = None
    """Since when it is unpaid, at the earliest and at the latest."""
    beside: tuple[tuple[str, int, int], ...] = ()
    """What is true beside the status, since when at the earliest, and at the latest."""


@dataclass(slots=True)
class Begun:
    """Since when something is true beside a status, of all subscriptions of one buyer."""

    since: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Of a subscription and a word: since when one may count it who knows what was so at the last rest; and since
    when it is so."""
    over: set[tuple[str, str]] = field(default_factory=set)

    def note(self, subscription_id: str, words: Sequence[str], now: int) -> tuple[tuple[str, int, int], ...]:
        """What is so now."""
        for key in [key for key in self.since if key[0] == subscription_id and key[1] not in words]:
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

    def settle(self) -> None:
        """Everything is known: what is over is over."""
        for key in self.over:
            del self.since[key]
        self.over.clear()


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
            last = next((seen for seen in seen_at if seen >= one.since), now)
        if one.given_up is not None:
            first, last = one.given_up[0], self._seen(one.given_up[1], now, seen_at)
        kept, lapsed = (RANK[one.tier], near, one.tier), (-1, near, law.then(one.status))
        answers = [lapsed if is_over else kept for is_over in _is_over(law.rule(one.status).keep_s, first, last, now)]
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
    """Since when one may count what is due who has seen the last of these truths, and any of the others or none."""
    if not truths[-1].dues:
        return None
    dues = [since for truth in truths for since in truth.dues]
    return min(dues) if before is None else min(before, *dues)


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


def truth_of(world: World, stripe_customer_id: str | None, begun: Begun | None = None) -> Truth:
    """What is so now. Of a customer that was deleted, Stripe lists what it had, ended."""
    if stripe_customer_id is None:
        return Truth(at=world.now, subscriptions=())
    found = world.subscriptions_of(stripe_customer_id)
    begun = Begun() if begun is None else begun
    disputed = _disputed_since(world, stripe_customer_id)
    return Truth(at=world.now, subscriptions=tuple(_seen(world, one, begun, disputed) for one in found))


def _disputed_since(world: World, customer_id: str) -> int | None:
    charges = world.tables.charges
    opened = [
        one.created
        for one in world.tables.disputes.values()
        if one.status not in CLOSED and charges[one.charge_id].customer_id == customer_id
    ]
    return min(opened, default=None)


def _seen(world: World, one: Subscription, begun: Begun, disputed_since: int | None) -> Seen:
    tier = max((TIERS[item.price_id] for item in one.items if item.price_id in TIERS), key=RANK.__getitem__)
    words = []
    if one.ended_at is None and one.pause_behavior is not None:
        words.append(VOIDED if one.pause_behavior == "void" else PAUSED)
    if one.ended_at is None and one.pending_update is not None:
        words.append(PENDING)
    if is_never_paid(world, one):
        words.append(NEVER_PAID)
    words += taken_back(world, one)
    if one.status == UNPAID:
        words.append(UNPAID)
    beside = tuple(row for row in begun.note(one.id, words, world.now) if row[0] != UNPAID)
    given_up = begun.given_up(one.id) if one.status == UNPAID else None
    if disputed_since is not None:
        beside = ((DISPUTED, disputed_since, disputed_since), *beside)
    beside = tuple(sorted(beside))  # what refuses first is what is told
    since = one.past_due_since if one.ended_at is None else one.ended_at
    return Seen(status=one.status, tier=tier, since=since, given_up=given_up, beside=beside)
