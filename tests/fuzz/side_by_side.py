"""One connection's worth of bytes to a proxy, and what came of it at both ends, so that proxies can be compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fuzz.calls import Call, Canary, calling
from tests.fuzz.oracle import Request, read_requests
from tests.fuzz.oracle_responses import read_response
from tests.fuzz.recorder import Recorder
from tests.fuzz.rules import ADDED

_QUIET_S = 0.15
"""Without a byte for so long after an answer, or four times as long without one, nothing more is expected."""
_SETTLE_S = 0.03
_NOT_COMPARED = ADDED | {
    b"x-request-id", b"traceparent", b"tracestate", b"x-tiergate-customer", b"x-tiergate-user", b"x-tiergate-key",
    b"x-tiergate-tier", b"x-tiergate-decision", b"x-api-key", b"connection", b"via", b"user-agent", b"accept-encoding",
}  # fmt: skip
"""Fields that each proxy writes in its own way; what becomes of them is documented for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request as the upstream got it."""

    line: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of the bytes."""

    answers: tuple[str, ...]
    """Status, and how the answer ended if it did not end well."""
    bodies: tuple[bytes, ...]
    forwarded: tuple[Sent, ...]
    after: str
    """`open`: the connection took another request; `closed`; `waits` for more bytes."""

    is_garbled: bool
    """The upstream was sent what no strict reader reads."""

    @property
    def outcome(self) -> str:
        """In a few words."""
        answers = " and ".join(self.answers) or "no answer"
        garbled = ", the upstream gets what is no request" if self.is_garbled else ""
        return f"{answers}, {self.after}{garbled}"


async def play(port: int, recorder: Recorder, data: bytes, canary: Canary) -> Seen:
    """Send the bytes on a connection of their own, and another request behind them if that is possible."""
    recorder.clear()
    methods = _methods_of(data)
    async with calling(port) as call:
        await call.send(data)
        out = await _listen(call, methods)
        is_over = call.is_over
        rest: bytes | None = b""
        if not is_over:
            await call.send(canary.request)
            rest = await _until_quiet(call)
    await asyncio.sleep(_SETTLE_S)
    served = [request for request in recorder.requests if request.target == canary.target]
    if served and rest is not None:
        out += canary.split_off(rest)[0]
    else:
        out += rest or b""
    after = "open" if served else ("closed" if is_over or call.is_over else "waits")
    answers, bodies = _read(out, methods, ended=after == "closed" and not call.was_reset)
    forwarded = tuple(_sent(request) for request in recorder.requests if request.target != canary.target)
    return Seen(answers=answers, bodies=bodies, forwarded=forwarded, after=after, is_garbled=bool(recorder.bad))


def _methods_of(data: bytes) -> list[bytes]:
    reading = read_requests(data)
    return [request.method for request in reading.requests] or [data.split(b" ", 1)[0].strip() or b"GET"]


async def _listen(call: Call, methods: Sequence[bytes]) -> bytes:
    """What comes until nothing more is to be expected."""
    out = b""
    try:
        while data := await call.more(_QUIET_S if _read(out, methods, ended=False)[0] else 4 * _QUIET_S):
            out += data
    except TimeoutError:
        pass
    return out


async def _until_quiet(call: Call) -> bytes:
    out = b""
    try:
        while data := await call.more(10 * _QUIET_S):
            out += data
    except TimeoutError:
        pass
    return out


def _read(out: bytes, methods: Sequence[bytes], *, ended: bool) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    """Statuses and bodies of the answers."""
    answers: list[str] = []
    bodies: list[bytes] = []
    number = 0
    while out:
        method = methods[min(number, len(methods) - 1)]
        answer = read_response(out, method, ended=ended)
        if answer.end == "nothing":
            if answer.rest:
                answers.append("part of an answer")
            break
        if answer.end == "bad" and not answer.status:
            answers.append("what is no HTTP/1 answer")
            break
        answers.append(f"{answer.status}" if answer.end == "whole" else f"{answer.status}, broken off")
        bodies.append(answer.body)
        out = answer.rest
        number += 1
        if answer.end != "whole":
            break
    return tuple(answers), tuple(bodies)


def _sent(request: Request) -> Sent:
    return Sent(
        line=b"%b %b" % (request.method, request.target),
        fields=tuple(field for field in request.fields if field[0] not in _NOT_COMPARED),
        body=request.body,
    )
