"""The whole gateway over sockets: what was decided, what the upstream saw and what the caller got are one story.

A case is either a caller's stream of requests, some of which carry a key, or one exchange whose
response is bent. Behind it comes a canary on the same connection, where that is still open, or
else on another: it has to get its own answer. Nothing may reach the upstream but what was admitted.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from gateway.core.keys import KEY_LENGTH
from tests.fakes.gateway_process import Gateway, running_gateway
from tests.fakes.serving import ADMIN_TOKEN
from tests.fuzz import answering
from tests.fuzz.calls import Canary, calling
from tests.fuzz.judging import Judgement, Verdict, judge_answers, judge_by_others, judge_forwarded
from tests.fuzz.oracle import Reading, Request, read_requests
from tests.fuzz.oracle_responses import read_response
from tests.fuzz.paths import PATTERNS, accepted, matching_route, reading
from tests.fuzz.recorder import Recorder, answers_well
from tests.fuzz.rules import ADDED, is_ours, refused_by_app, refused_by_server, wants_websocket
from tests.fuzz.streams import Writer, bend, cut
from tests.fuzz.words import ODDITIES

ROUTES = (*PATTERNS, "* /v1/**")
KEY = b"<key".ljust(KEY_LENGTH - 1, b".") + b">"
"""Stands for the key in a case, so that cases can be played again; as long as one."""
_KEPT_BACK = 64
_WHOLE_PATH = 200
"""Characters; records cut what is longer."""
_WHY = b"GET /_tiergate/why/%b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + ADMIN_TOKEN.encode() + b"\r\n\r\n"
_ASK = b"%b /v1/n0 HTTP/%b\r\nHost: x\r\nX-API-Key: %b\r\nConnection: keep-alive\r\n\r\n"
_SAID_BY_GATEWAY = ADDED | {
    b"x-request-id", b"traceparent", b"tracestate", b"x-tiergate-customer", b"x-tiergate-user", b"x-tiergate-key",
    b"x-tiergate-tier", b"x-tiergate-decision", b"x-tiergate-features", b"x-tiergate-assertion",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is sent on one connection, or how one request is answered."""

    pieces: tuple[bytes, ...] = ()
    told: answering.Told | None = None


def draw(rng: Random) -> Case:
    """A case."""
    if rng.random() < 0.25:
        return Case(told=answering.draw_one(rng))
    writer = Writer(rng, rng.choice(ODDITIES))
    data = writer.requests((b"X-API-Key: " + KEY,) if rng.random() < 0.9 else ())
    if rng.random() < 0.4:
        data = bend(rng, data, rng.choice((1, 1, 2, 4)))
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data) + 1)]
    return Case(pieces=cut(rng, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """An admitted request that is still to be looked up."""

    decision_id: str
    method: str
    path: str
    route: int


class Sockets:
    """A gateway, its upstream, and what is known of both."""

    def __init__(self, gateway: Gateway, recorder: Recorder) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._number = 0
        self._canary = Canary(0, gateway.key)
        self._decided: list[_Decided] = []
        self._log_read = 0

    async def check(self, case: Case) -> str | None:
        """What is wrong; None if nothing is."""
        self._recorder.clear()
        self._recorder.script = answers_well
        self._number += 1
        self._canary = Canary(self._number, self._gateway.key)
        if case.told is not None:
            wrong = await self._check_answer(case.told)
        else:
            wrong = await self._check_requests(case)
        if wrong is None and self._recorder.bad:
            wrong = f"the upstream was sent what is no request: {self._recorder.bad[0]}"
        if wrong is None and len(self._decided) >= _KEPT_BACK:
            wrong = await self.look_up()
        return wrong or self._logged()

    # Requests.

    async def _check_requests(self, case: Case) -> str | None:
        data = b"".join(case.pieces).replace(KEY, self._gateway.key)
        parsed = read_requests(data)
        out = await self._send(case, data, parsed)
        if out is None:
            return "the connection is not closed"
        seen = [request for request in self._recorder.requests if request.target != self._canary.target]
        has_canary = len(seen) < len(self._recorder.requests)
        if parsed.end == "open":
            return None
        if has_canary:
            if parsed.end != "done" or any(not request.persists for request in parsed.requests):
                return "a request behind what ends the connection was served"
            out, wrong = self._canary.split_off(out)
            if wrong:
                return wrong
        judged = judge_answers(parsed, out, closed=not has_canary, verdict=self._verdict)
        return judged.wrong or self._judge_admitted(parsed, judged, seen) or judge_by_others(data, judged)

    async def _send(self, case: Case, data: bytes, parsed: Reading) -> bytes | None:
        """All that comes back. A canary follows, unless it would be taken for the rest of something."""
        at, pieces = 0, []
        for piece in case.pieces:
            pieces.append(data[at : at + len(piece)])
            at += len(piece)
        async with calling(self._gateway.port) as call:
            await call.send(*pieces)
            if parsed.end != "partial":
                await call.send(self._canary.request)
                return await call.all()
            before = await call.answers(parsed.requests)
            call.end()  # not before the answers: it would be taken for the caller's leaving
            rest = await call.all()
            return None if rest is None else before + rest

    def _verdict(self, request: Request) -> Verdict:
        if refused_by_server(request):
            return "refused and closed"
        if refused_by_app(request):
            return "refused"
        if wants_websocket(request):
            return "either"
        if is_ours(request):
            return "ours"
        if not self._has_key(request) or self._route_of(request) is None:
            return "refused"
        return "good"

    def _has_key(self, request: Request) -> bool:
        keys = set(request.all(b"x-api-key"))
        for value in request.all(b"authorization"):
            if value[:7].lower() == b"bearer " and value[7:].strip().startswith(b"tg_"):
                keys.add(value[7:].strip())
        return keys == {self._gateway.key}

    def _route_of(self, request: Request) -> int | None:
        return matching_route(request.method.decode(), reading(request.target.partition(b"?")[0]), ROUTES)

    def _judge_admitted(self, parsed: Reading, judged: Judgement, seen: list[Request]) -> str | None:
        wrong = judge_forwarded(parsed, judged.served, seen, added=_SAID_BY_GATEWAY)
        if wrong:
            return wrong
        for request, answer, sent in zip(judged.served, judged.answers, seen, strict=True):
            ids = {*answer.all(b"tiergate-decision"), *sent.all(b"x-tiergate-decision")}
            if len(ids) != 1:
                return f"the caller and the upstream were told of decisions {ids}"
            if sent.all(b"x-tiergate-tier") != [b"plain"] or any(
                self._gateway.key in value for _, value in sent.fields
            ):
                return f"the upstream was told {sent.fields}"
            path = accepted(request.target.partition(b"?")[0])
            route = self._route_of(request)
            assert path is not None
            assert route is not None
            decided = _Decided(decision_id=ids.pop().decode(), method=request.method.decode(), path=path, route=route)
            if len(self._decided) < _KEPT_BACK:
                self._decided.append(decided)
        return None

    async def look_up(self) -> str | None:
        """Whether the records of decisions say what the upstream was sent."""
        decided, self._decided = self._decided, []
        async with calling(self._gateway.port) as call:
            for one in decided:
                await call.send(_WHY % one.decision_id.encode())
                answer, _ = await call.answer(b"GET")
                record: dict[str, Any] = json.loads(answer.body)
                found = (record.get("verdict"), record.get("method"), record.get("path"), record.get("route"))
                path = one.path if len(one.path) <= _WHOLE_PATH else found[2]
                wanted = ("admitted", one.method, path, _named(ROUTES[one.route]))
                if found != wanted:
                    return f"decision {one.decision_id} is recorded as {found}, and was {wanted}"
        return None

    # Responses.

    async def _check_answer(self, told: answering.Told) -> str | None:
        expected = read_response(told.data, told.method, ended=True)
        ends = told.then.endswith("end") or told.then == "reset" or expected.end != "whole" or expected.to_close

        def play(transport: asyncio.Transport, request: Request) -> bool:
            if request.target != b"/v1/n0":
                return False
            transport.write(told.data)
            if ends:
                transport.close()
            return True

        self._recorder.script = play
        rest = None
        async with calling(self._gateway.port) as call:
            await call.send(_ASK % (told.method, told.version, self._gateway.key))
            got, out = await call.answer(told.method)
            wrong = answering.judge_one(told, expected, got, out, over=call.is_over, closed=not call.was_reset)
            if wrong:
                return f"{expected.end} {expected.status} {expected.why}: {wrong}"
            if got.end == "whole" and got.persists:
                await call.send(self._canary.request)
                rest = await call.all()
        if rest is None:
            async with calling(self._gateway.port) as call:
                await call.send(self._canary.request)
                rest = await call.all()
        if rest is None:
            return "the canary's connection is not closed"
        rest, wrong = self._canary.split_off(rest)
        return wrong or (f"bytes before the canary's answer: {rest[:80]!r}" if rest else None)

    # Both.

    def _logged(self) -> str | None:
        """What the gateway has logged since: nothing that is sent to it is worth a warning."""
        if self._gateway.process.poll() is not None:
            return f"the gateway has ended: {self._gateway.log.read_text()[-2000:]}"
        with self._gateway.log.open("rb") as log:
            log.seek(self._log_read)
            said = log.read()
        self._log_read += len(said)
        told = b"\n".join(
            line for line in said.splitlines() if b"stripe" not in line and b"BillingUnavailable" not in line
        )  # there is no Stripe
        return f"the gateway logged {told[-1500:].decode(errors='replace')}" if told.strip() else None


def _named(pattern: str) -> str:
    """As the gateway names a route."""
    return pattern if " " in pattern else f"* {pattern}"


@asynccontextmanager
async def sockets() -> AsyncIterator[Sockets]:
    """Start everything."""
    async with Recorder() as recorder:
        starting = running_gateway(recorder.port, ROUTES)
        gateway = await asyncio.to_thread(starting.__enter__)
        try:
            yield Sockets(gateway, recorder)
        finally:
            await asyncio.to_thread(starting.__exit__, None, None, None)
