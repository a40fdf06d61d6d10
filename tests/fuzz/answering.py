"""Responses through the wire code: what a caller reads is what a strict reader reads of the upstream's bytes.

One case is a few exchanges on one or two callers' connections. Each has bytes of its own to answer
it, good or bent, brought in pieces and followed by an end, a reset, silence, or something nobody
asked for. A caller must never get another exchange's bytes, and never take a part for the whole.

Where requests overlap, what an upstream sends behind its answer may cross the next request on that
connection, and nobody can tell it from an answer then: such exchanges are played and not judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from tests.fuzz.opinions import h11_response
from tests.fuzz.oracle import Request
from tests.fuzz.oracle_responses import Response, read_response
from tests.fuzz.plumbing import MOST_UNASKED, RESET, FakeTransport, settle
from tests.fuzz.rules import relayed_fields
from tests.fuzz.streams import Writer, bend, cut
from tests.fuzz.words import ODDITIES
from tests.fuzz.world import FakeServer, World

_NUMBER = re.compile(rb"/v1/n([0-9])")
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_ADDED = {b"date", b"tiergate-decision", b"vary"}
"""What a whole gateway says behind the upstream's own fields."""
_METHODS = (b"GET", b"GET", b"GET", b"HEAD", b"POST", b"DELETE", b"PUT")
_THENS = ("keep", "keep", "keep", "end", "end", "reset", "keep, then more", "keep, then end")
MORE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<9>"
UPLOAD = b"content-length: 9\r\n\r\n123"
UPLOAD_REST = b"456789"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One exchange."""

    method: bytes
    version: bytes
    pieces: tuple[bytes, ...]
    then: str
    caller: int = 0

    @property
    def data(self) -> bytes:
        """All that comes on the connection."""
        return b"".join(self.pieces) + (MORE if self.then.endswith("more") else b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What happens."""

    exchanges: tuple[Told, ...]
    uploads: bool = False
    """The last request's body has come in part only when its answer begins."""
    is_slow: bool = False
    overlap: bool = False
    """Requests are sent without waiting for answers."""


def draw(rng: Random) -> Case:
    """A case."""
    callers = rng.choice((1, 1, 2))
    exchanges = tuple(_exchange(rng, number, rng.randrange(callers)) for number in range(rng.choice((1, 2, 2, 3))))
    return Case(
        exchanges=exchanges, uploads=rng.random() < 0.1, is_slow=rng.random() < 0.15, overlap=rng.random() < 0.4
    )


def draw_one(rng: Random) -> Told:
    """One exchange."""
    return _exchange(rng, 0, 0)


def _exchange(rng: Random, number: int, caller: int) -> Told:
    writer = Writer(rng, rng.choice(ODDITIES))
    method = rng.choice(_METHODS)
    payload = rng.choice(
        (b"", b"<%d>", b"<%d>" * 30, b"<%d>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<%d>", b"<%d>" * 800)
    )
    payload = payload.replace(b"%d", b"%d" % number)
    data = writer.response(payload, to_head=method == b"HEAD")
    if rng.random() < 0.35:
        data = bend(rng, data, rng.choice((1, 1, 2, 4)))
    if rng.random() < 0.15:
        data = data[: rng.randrange(len(data) + 1)]
    if rng.random() < 0.1:
        data += rng.choice((b"x", b"\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<9>", b"0\r\n\r\n"))
    version = b"1.1" if rng.random() < 0.85 else b"1.0"
    return Told(method=method, version=version, pieces=cut(rng, data), then=rng.choice(_THENS), caller=caller)


def _request(number: int, told: Told, *, uploads: bool) -> bytes:
    head = b"%b /v1/n%d HTTP/%b\r\nHost: x\r\n" % (told.method, number, told.version)
    if told.version == b"1.0":
        head += b"Connection: keep-alive\r\n"
    return head + (UPLOAD if uploads else b"\r\n")


async def check(world: World, case: Case) -> str | None:
    """What is wrong; None if nothing is."""
    served: dict[FakeServer, list[int]] = {}

    def answer(server: FakeServer, request: Request) -> None:
        found = _NUMBER.fullmatch(request.target)
        assert found is not None
        number = int(found[1])
        served.setdefault(server, []).append(number)
        _play(server, case.exchanges[number])

    world.reset(answer, answers_early=case.uploads)
    callers = [world.connect(is_slow=case.is_slow) for _ in range(1 + max(told.caller for told in case.exchanges))]
    await _ask(case, callers)
    unasked = max(caller.written_unasked for caller in callers)
    if unasked > MOST_UNASKED:
        world.errors.append(f"{unasked} bytes were written to a caller that does not read")
    ends = [_End(caller) for caller in callers]
    for caller in callers:
        caller.bring_end(RESET)
    await settle()
    for caller in callers:
        caller.abort()
    await settle()
    await world.close()
    await settle()
    return world.fault or _judge_all(case, ends, served)


async def _ask(case: Case, callers: list[FakeTransport]) -> None:
    last = len(case.exchanges) - 1
    for number, told in enumerate(case.exchanges):
        callers[told.caller].bring(_request(number, told, uploads=case.uploads and number == last))
        if not case.overlap:
            await _rest(callers)
    await _rest(callers)
    if case.uploads:
        callers[case.exchanges[last].caller].bring(UPLOAD_REST)
        await _rest(callers)


def _judge_all(case: Case, ends: list[_End], served: dict[FakeServer, list[int]]) -> str | None:
    crossed = _crossed(case, served) if case.overlap else set()
    for index, end in enumerate(ends):
        mine = [(number, told) for number, told in enumerate(case.exchanges) if told.caller == index]
        wrong = _judge(mine, end, crossed)
        if wrong:
            return wrong
    return None if case.overlap else _reuse(case, served)


def _play(server: FakeServer, told: Told) -> None:
    transport = server.transport
    transport.bring(*told.pieces)
    if told.then.endswith("more"):
        transport.bring(MORE)
    if told.then.endswith("end"):
        transport.bring_end()
    elif told.then == "reset":
        transport.bring_end(RESET)


async def _rest(callers: list[FakeTransport]) -> None:
    await settle()
    while held := [caller for caller in callers if caller.is_held_back]:
        for caller in held:
            caller.take()
        await settle()


class _End:
    """What a caller has got."""

    def __init__(self, caller: FakeTransport) -> None:
        self.data = bytes(caller.written)
        self.closed = (caller.closing and not caller.aborted) or caller.sent_eof
        self.over = caller.closing or caller.sent_eof


def _judge(exchanges: list[tuple[int, Told]], end: _End, crossed: set[int]) -> str | None:
    out = end.data
    for number, told in exchanges:
        if number in crossed:
            return None
        expected = read_response(told.data, told.method, ended=told.then.endswith("end"))
        got = read_response(out, told.method, ended=end.closed)
        told_of = f"exchange {number}, {expected.end} {expected.status} {expected.why}"
        if got.interim:
            return f"{told_of}: interim answers {got.interim}"
        wrong = judge_one(told, expected, got, out, over=end.over, closed=end.closed)
        if wrong:
            return f"{told_of}: {wrong}"
        if got.end != "whole" or not got.persists:
            return (
                f"{told_of}: bytes follow the last answer: {got.rest[:80]!r}"
                if got.end == "whole" and got.rest
                else None
            )
        out = got.rest
    return f"more answers than requests: {out[:80]!r}" if out else None


def judge_one(
    told: Told, expected: Response, got: Response, out: bytes, *, over: bool, closed: bool | None = None
) -> str | None:
    """Hold what a caller got against what it should have got.

    Args:
        out: The bytes of the answer, and perhaps more.
        over: The connection has ended.
        closed: It has ended cleanly.
    """
    closed = over if closed is None else closed
    if got.end == "bad":
        return f"the caller is sent what is no answer: {got.why} {out[:120]!r}"
    if expected.end == "whole":
        return _judge_whole(told, expected, got, out, ended=closed)
    if got.end == "whole":
        return None if got.status == 502 else f"got a whole answer {got.status} {got.body[:60]!r}"
    if got.end == "nothing":
        waits = told.then in ("keep", "keep, then more") and expected.end in ("nothing", "cut")
        return None if waits and not got.rest and not over else f"got nothing; over: {over}"
    if expected.end == "nothing" or got.status != expected.status or not expected.body.startswith(got.body):
        return f"got the part {got.status} {got.body[:80]!r}"
    return None


def _judge_whole(told: Told, expected: Response, got: Response, out: bytes, *, ended: bool) -> str | None:
    if (got.end, got.status, got.body) != ("whole", expected.status, expected.body):
        return f"got {got.end} {got.status} {got.body[:80]!r} instead of {expected.status} {expected.body[:80]!r}"
    drops_length = expected.status in (204, 304) and told.method != b"HEAD"
    wanted = relayed_fields(expected.version, expected.fields, drops_length=drops_length)
    fields = [field for field in got.fields if field[0] not in _FRAMING]
    wanted = tuple(field for field in wanted if field[0] not in _FRAMING)
    added = {name for name, _ in fields[len(wanted) :]}
    if tuple(fields[: len(wanted)]) != wanted or not added <= _ADDED:
        return f"fields {fields} instead of {wanted}"
    opinion = h11_response(out, told.method, ended=ended)
    if isinstance(opinion, str):
        return f"h11 refuses what the caller got: {opinion}"
    if opinion is not None and opinion != (got.status, got.body):
        return f"h11 reads what the caller got otherwise: {opinion}"
    return None


def _reuse(case: Case, served: dict[FakeServer, list[int]]) -> str | None:
    """A connection is used again only behind a whole answer with nothing after it."""
    for numbers in served.values():
        for number in numbers[:-1]:
            if not _is_clean(case.exchanges[number]):
                return f"the connection of exchange {number} was used again: {case.exchanges[number]}"
    return None


def _crossed(case: Case, served: dict[FakeServer, list[int]]) -> set[int]:
    """Exchanges whose request may have met what an upstream sent behind another answer."""
    return {
        number
        for numbers in served.values()
        for at, number in enumerate(numbers)
        if not all(_is_clean(case.exchanges[before]) for before in numbers[:at])
    }


def _is_clean(told: Told) -> bool:
    """Whether its connection may be used again."""
    was = read_response(told.data, told.method, ended=False)
    return was.end == "whole" and not was.rest and was.persists and told.then in ("keep", "keep, then more")
