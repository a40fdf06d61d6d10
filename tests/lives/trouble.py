"""What goes wrong in one stretch of time, drawn by a seed: how events travel, and what happens to steps."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gateway.sandbox import ApiFault, Faults
from tests.lives.steps import Fate, Process

_OUTAGES = ("stripe", "ledger", "cache")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """The default is none. Shares are of steps."""

    faults: Faults = field(default_factory=Faults)
    refused: tuple[tuple[str, float], ...] = ()
    unknown: tuple[tuple[str, float], ...] = ()
    killed: float = 0.0
    late: int = 0
    """An answer of Stripe waits for up to so many turns of the loop, and others overtake it."""

    def process(self, chance: random.Random) -> Process:
        """A process that lives in it."""
        refused, unknown = dict(self.refused), dict(self.unknown)

        def fate_of(kind: str, _: int) -> Fate:
            drawn = chance.random()
            if drawn < self.killed:
                return "killed before" if drawn < self.killed / 2 else "killed after"
            drawn = chance.random()
            if drawn < refused.get(kind, 0.0):
                return "refused"
            return "unknown" if drawn > 1 - unknown.get(kind, 0.0) else "done"

        return Process(fate_of=fate_of)


CALM = Trouble()


def draw_trouble(chance: random.Random) -> Trouble:
    """Half of the time nothing; else one thing or several."""
    if chance.random() < 0.4:
        return CALM
    hit = set(chance.sample(("delivery", "steps", "outage", "kills", "api"), k=chance.choice((1, 1, 2, 3))))
    faulty = tuple((kind, chance.choice((0.02, 0.1))) for kind in _OUTAGES)
    refused = faulty if "steps" in hit else ()
    if "outage" in hit:
        refused += ((chance.choice(_OUTAGES), chance.choice((0.5, 1.0))),)
    return Trouble(
        faults=_draw_faults(chance, delivery="delivery" in hit, api="api" in hit),
        refused=refused,
        unknown=faulty if "steps" in hit else (),
        killed=chance.choice((0.01, 0.05)) if "kills" in hit else 0.0,
        late=chance.choice((0, 5, 50)),
    )


def _draw_faults(chance: random.Random, *, delivery: bool, api: bool) -> Faults:
    statuses = chance.sample((429, 500, 503, 409), k=2)
    failing = tuple(ApiFault(status=status, times=0, share=0.2, after=chance.random() < 0.5) for status in statuses)
    if not delivery:
        return Faults(seed=chance.getrandbits(30), api=failing if api else ())
    return Faults(
        seed=chance.getrandbits(30),
        duplicate=chance.choice((0, 1, 2)),
        duplicate_share=0.3,
        order=chance.choice(("forward", "reverse", "shuffle", "shuffle")),
        drop=chance.choice(((), ("*",))),
        drop_share=chance.choice((0.1, 0.5, 1.0)),
        unreached=chance.choice((0.0, 0.3)),
        unanswered=chance.choice((0.0, 0.3)),
        api_version=chance.choice((None, None, "2024-06-20", "2099-12-31.unheard")),
        api=failing if api else (),
    )
