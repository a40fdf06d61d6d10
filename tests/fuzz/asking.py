"""Requests through the wire code: what is served and forwarded is what a strict reader reads, or nothing is.

One case is a caller's whole stream, cut into pieces. The strict reader is an upper bound: what it
does not read may never be served; what it reads has to be, unless a stricter rule refuses it, and
every answer has to belong to the request in its place. What was accepted and what was forwarded is
shown to other parsers, which must read the same if they read it at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random

from tests.fuzz.judging import Verdict, judge_answers, judge_by_others, judge_forwarded, judge_written
from tests.fuzz.oracle import Request, read_requests
from tests.fuzz.plumbing import MOST_UNASKED, RESET, FakeTransport, settle
from tests.fuzz.rules import is_ours, refused_by_app, refused_by_server, target_of, wants_websocket
from tests.fuzz.streams import Writer, bend, cut
from tests.fuzz.words import ODDITIES
from tests.fuzz.world import World, answer_with_echo, echo_of

_LONG_S = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A caller's stream, and how it is brought."""

    pieces: tuple[bytes, ...]
    reads_itself: bool = False
    """An ASGI app answers, and no upstream."""
    answers_early: bool = False
    """The upstream answers as soon as it has a head."""
    is_slow: bool = False
    """The caller takes its time with what is written."""
    hurries: bool = False
    """Pieces come without time between them for what they bring about."""
    leaves: bool = False
    """The caller resets in the end, instead of waiting."""

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


def draw(rng: Random) -> Case:
    """A case."""
    data = Writer(rng, rng.choice(ODDITIES)).requests()
    if rng.random() < 0.4:
        data = bend(rng, data, rng.choice((1, 1, 1, 2, 3, 6)))
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data) + 1)]
    return Case(
        pieces=cut(rng, data),
        reads_itself=rng.random() < 0.25,
        answers_early=rng.random() < 0.1,
        is_slow=rng.random() < 0.1,
        hurries=rng.random() < 0.3,
        leaves=rng.random() < 0.3,
    )


async def check(world: World, case: Case) -> str | None:
    """What is wrong; None if nothing is."""
    world.reset(answer_with_echo, answers_early=case.answers_early, reads_itself=case.reads_itself)
    caller = world.connect(is_slow=case.is_slow)
    if case.hurries:
        caller.bring(*case.pieces)
        await _rest(caller)
    else:
        for piece in case.pieces:
            caller.bring(piece)
            await _rest(caller)
    out, closed = bytes(caller.written), caller.closing or caller.sent_eof
    if caller.written_unasked > MOST_UNASKED:
        world.errors.append(f"{caller.written_unasked} bytes were written to a caller that does not read")
    if caller.sent_eof:
        caller.get_protocol().look(asyncio.get_running_loop().time() + _LONG_S)  # type: ignore[attr-defined]
        if not caller.closing:
            world.errors.append("a connection that was refused is never closed")
    forwarded = world.dialer.requests()
    written = [bytes(server.transport.written) for server in world.dialer.servers]
    caller.bring_end(RESET if case.leaves else None)
    await settle()
    caller.abort()  # while reading is paused an end is not noticed
    await settle()
    await world.close()
    await settle()
    return world.fault or _judge(case, out, forwarded, closed=closed) or judge_written(written)


async def _rest(caller: FakeTransport) -> None:
    await settle()
    while caller.is_held_back:
        caller.take()
        await settle()


def _judge(case: Case, out: bytes, forwarded: list[Request], *, closed: bool) -> str | None:
    reading = read_requests(case.data)
    early = case.answers_early and not case.reads_itself
    judged = judge_answers(reading, out, closed=closed, verdict=_verdict, early=early)
    if judged.wrong is not None:
        return judged.wrong
    if early and reading.end == "open":
        return None
    if early:  # what was answered early may never have been sent in full
        asked = {echo_of(request.method, target_of(request), request.body) for request in reading.requests}
        strays = (sent for sent in forwarded if echo_of(sent.method, sent.target, sent.body) not in asked)
        return next((f"forwarded {sent}" for sent in strays), None)
    if not case.reads_itself and (wrong := judge_forwarded(reading, judged.served, forwarded)):
        return wrong
    return judge_by_others(case.data, judged)


def _verdict(request: Request) -> Verdict:
    if refused_by_server(request):
        return "refused and closed"
    if refused_by_app(request):
        return "refused"
    if wants_websocket(request):
        return "either"
    return "ours" if is_ours(request) else "good"
