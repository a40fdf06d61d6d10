"""`make bench-events`: 500 events a second into the webhook, for a minute; then EVENTS.md.

Nothing is lost if every event that was answered with 200 ends as done. What Stripe is asked is counted by the
sandbox. The backlog is drained when nothing in the inbox is open any more.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.event_ground import EventTown, event_town
from benchmarks.event_load import Answers, Mix, deliver, draw
from benchmarks.ground import Ground
from benchmarks.machine import Disturbance, choose_cores, describe_machine
from benchmarks.options import read_options
from benchmarks.processes import NotMeasured
from benchmarks.table import markdown_table
from gateway import __version__
from gateway.settings import Settings
from gateway.telemetry import configure_logging

RATE = 500.0
_SECONDS = 60
_WANTED_P99_MS = 50.0
_PATIENCE_S = 1800.0
_PER_S = Settings.model_fields["stripe_requests_per_s"].default
"""What Stripe is asked a second where a mix does not say, as the gateway is delivered."""
_PAGE = Path(__file__).parent / "EVENTS.md"

MIXES = (
    Mix(name="few customers", note="50 customers, some 600 events each", customers=50),
    Mix(name="renewals", note="1,000 customers, 30 events each", customers=1_000),
    Mix(name="duplicates", note="500 customers; every event is delivered three times", customers=500, copies=3),
    Mix(name="thin", note="200 customers, thin events of their subscriptions", customers=200, is_thin=True),
    Mix(
        name="many customers",
        note="10,000 customers, 3 events each; Stripe may be asked 80 times a second",
        customers=10_000,
        per_s=80,
    ),
    Mix(name="few customers, PostgreSQL", note="as the first", customers=50, on_postgresql=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSample:
    """One mix, measured."""

    answers: Answers
    took_s: float
    """From the first delivery to the last answer."""
    cpu_s: float
    """Of the gateway's processes meanwhile, its cache and the work on events included."""
    drained_s: float
    """From the last answer until nothing was open."""
    lost: int
    """Events that were answered with 200 and are not done."""
    requests: tuple[tuple[float, str], ...]

    @property
    def most_requests(self) -> int:
        """To Stripe, in any second."""
        return max(Counter(int(at) for at, _ in self.requests).values(), default=0)


def main() -> None:
    """Measure, print, and write the page if the run was whole."""
    configure_logging("console", "error")
    options, disturbance = read_options(), Disturbance.start()
    seconds = int(os.environ.get("BENCH_EVENT_SECONDS", _SECONDS))
    wanted = [mix for mix in MIXES if options.wants_part(mix.name)]
    found: dict[str, EventSample | str] = {}
    with tempfile.TemporaryDirectory(prefix="tiergate-bench-") as directory:
        ground = Ground(directory=Path(directory), cores=choose_cores())
        for mix in wanted:
            print(f"{mix.name}...", file=sys.stderr, flush=True)
            try:
                with event_town(ground, mix) as town:
                    found[mix.name] = measure(town, mix, seconds)
            except NotMeasured as fault:
                found[mix.name] = str(fault)
    is_good = all(not isinstance(one, str) and passes(mix, one) for mix in wanted for one in [found[mix.name]])
    page = events_page(wanted, found, seconds, disturbance.share())
    print(page)
    if wanted == list(MIXES) and seconds >= _SECONDS:
        _PAGE.write_text(page)
    else:
        print(f"Not written to {_PAGE.name}: the run was partial, or shorter than a minute.", file=sys.stderr)
    if not is_good:
        sys.exit(1)


def measure(town: EventTown, mix: Mix, seconds: int) -> EventSample:
    """Send, and wait until all is worked off.

    Raises:
        NotMeasured: The backlog is not drained in half an hour.
    """
    deliveries = draw(mix, round(RATE * seconds))
    cpu_before, begun = town.gateway.cpu_s(), time.monotonic()
    answers = uvloop.run(deliver(town.port, town.secret, deliveries, RATE))
    ended = time.monotonic()
    cpu_s = town.gateway.cpu_s() - cpu_before
    while town.open_events():
        if time.monotonic() - ended > _PATIENCE_S:
            raise NotMeasured(f"{town.open_events()} events are open after {_PATIENCE_S:.0f} s")
        time.sleep(0.2)
    drained_s = time.monotonic() - ended
    states = town.states()
    return EventSample(
        answers=answers,
        took_s=ended - begun,
        cpu_s=cpu_s,
        drained_s=drained_s,
        lost=sum(states.get(one) != "done" for one in answers.stored),
        requests=tuple(town.requests()),
    )


def events_page(mixes: list[Mix], found: dict[str, EventSample | str], seconds: int, others: float) -> str:
    """The whole page."""
    titles = (
        "mix",
        "what is sent",
        "answered 200",
        "p50 ms",
        "p99 ms",
        "slowest ms",
        "sent late, p99 ms",
        "gateway CPU, of one core",
        "lost",
        "drained after s",
        "requests to Stripe",
        "most in a second",
        "verdict",
    )
    head = (
        "# 500 events a second\n\n"
        "Written by `make bench-events`; do not edit. The method is told in [README.md](README.md). "
        f"{RATE:.0f} events a second for {seconds} s, one worker. "
        f"Tiergate {__version__}; {describe_machine()}. Other programs took {others:.0%} of the machine's time."
    )
    return f"{head}\n\n{markdown_table(titles, [_row(mix, found[mix.name]) for mix in mixes])}\n"


def passes(mix: Mix, sample: EventSample) -> bool:
    """Whether nothing was lost or refused, in time, and Stripe was not asked faster than this mix may ask it.

    The limit is a pace: a second of the clock, which begins anywhere between two requests, may hold one more.
    """
    answers = sample.answers
    all_stored = sample.lost == 0 and answers.statuses[200] == answers.statuses.total()
    is_polite = sample.most_requests <= (mix.per_s or _PER_S) + 1
    return all_stored and is_polite and answers.quantile_ms(0.99) < _WANTED_P99_MS


def _row(mix: Mix, sample: EventSample | str) -> list[str]:
    if isinstance(sample, str):
        return [mix.name, mix.note, f"not measured: {sample}", *[""] * 10]
    answers = sample.answers
    good = answers.statuses[200]
    return [
        mix.name,
        mix.note,
        f"{good:,} of {answers.statuses.total():,}",
        f"{answers.quantile_ms(0.5):.1f}",
        f"**{answers.quantile_ms(0.99):.1f}**",
        f"{max(answers.taken_ms):.0f}",
        f"{answers.late_p99_ms:.1f}",
        f"{sample.cpu_s / sample.took_s:.0%}",
        str(sample.lost),
        f"{sample.drained_s:.1f}",
        f"{len(sample.requests):,}",
        str(sample.most_requests),
        "pass" if passes(mix, sample) else "FAIL",
    ]


if __name__ == "__main__":
    main()
