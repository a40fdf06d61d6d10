"""Holding what a caller got and what an upstream was sent against what a strict reader makes of the caller's bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tests.fuzz.opinions import Opinion, h11_requests, llhttp_requests
from tests.fuzz.oracle import Reading, Request, read_requests
from tests.fuzz.oracle_responses import Response, read_response
from tests.fuzz.rules import ADDED, forwarded_fields, target_of
from tests.fuzz.world import echo_of

Verdict = Literal["good", "refused", "refused and closed", "ours", "either"]


@dataclass(slots=True)
class Judgement:
    """What is wrong, and which requests were answered well before that."""

    wrong: str | None = None
    served: list[Request] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)
    """To those."""
    early: bool = False
    """The last one was answered before it had come whole."""


def judge_answers(
    reading: Reading, out: bytes, *, closed: bool, verdict: Callable[[Request], Verdict], early: bool = False
) -> Judgement:
    """Walk along the requests and the answers.

    Args:
        reading: Of what the caller sent.
        out: What it got.
        closed: Whether the connection was closed behind that.
        verdict: What the rules make of a request.
        early: Requests with a body may be answered before it has come.
    """
    found = Judgement()
    asked = list(reading.requests)
    if early and reading.part is not None:
        asked.append(reading.part)
    for number, request in enumerate(asked):
        is_early = early and request.framing is not None
        answer = read_response(out, request.method, ended=closed)
        if answer.end != "whole":
            if request is not reading.part:
                found.wrong = f"request {number} was not answered: {answer.end} {answer.why} {out[:80]!r}"
            return found
        out = answer.rest
        rule = verdict(request)
        wrong = _judge_answer(request, answer, rule, early=is_early)
        if answer.status == 200 and rule != "ours":
            found.served.append(request)
            found.answers.append(answer)
            found.early = is_early
        goes_on = request.persists and rule == "good" and not is_early and answer.status == 200
        if not wrong and not answer.persists:
            found.wrong = _judge_close(out, closed=closed, goes_on=goes_on)
            return found
        if wrong:
            found.wrong = f"request {number} {request.method!r} {request.target[:60]!r}: {wrong}"
            return found
    found.wrong = _judge_end(reading, out, closed=closed) if reading.end != "open" else None
    return found


def _judge_close(out: bytes, *, closed: bool, goes_on: bool) -> str | None:
    if out:
        return f"bytes follow the last answer: {out[:80]!r}"
    if not closed:
        return "the last answer says that the connection closes, and it does not"
    return "closes after a good request that would have it go on" if goes_on else None


def _judge_answer(request: Request, answer: Response, rule: Verdict, *, early: bool) -> str | None:
    if any(status != 100 for status in answer.interim):
        return f"interim answers {answer.interim}"
    if rule == "ours" or (rule == "either" and answer.status >= 400):
        return None
    if rule in ("refused", "refused and closed"):
        return _judge_refusal(answer, rule)
    if early:
        return None if answer.status in (200, 400) else f"answered {answer.status}"
    if answer.status != 200:
        return f"a good request was answered {answer.status} {answer.body[:160]!r}"
    name = echo_of(request.method, target_of(request), request.body)
    return None if answer.all(b"x-echo") == [name] else "got the answer to another request"


def _judge_refusal(answer: Response, rule: Verdict) -> str | None:
    if not 400 <= answer.status < 600 or answer.status == 502:
        return f"answered {answer.status} although a rule refuses it"
    return "refused, and the connection goes on" if rule == "refused and closed" and answer.persists else None


def _judge_end(reading: Reading, out: bytes, *, closed: bool) -> str | None:
    """What comes after the answers to all whole requests."""
    if not out:
        return f"not refused: {reading.why}" if reading.end == "bad" and not closed else None
    answer = read_response(out, _method_of_last(reading), ended=closed)
    if answer.end == "nothing" and not answer.rest and set(answer.interim) == {100}:
        return None if reading.part is not None else "a body was asked for that nobody announced"
    if reading.end == "done":
        return f"more answers than requests: {out[:80]!r}"
    if answer.end != "whole" or not 400 <= answer.status < 600 or answer.persists or answer.rest or not closed:
        return f"what is {reading.end} ({reading.why}) was answered {out[:80]!r}"
    return None


def _method_of_last(reading: Reading) -> bytes:
    if reading.part is not None:
        return reading.part.method
    return b"HEAD" if reading.begins == b"HEAD " else b"GET"


def judge_forwarded(
    reading: Reading, served: Sequence[Request], found: Sequence[Request], *, added: frozenset[bytes] = ADDED
) -> str | None:
    """Compare what the upstream was sent with what was asked.

    Args:
        added: Fields that are not looked at.
    """
    if reading.end == "open":
        found = found[: len(served)]
    if len(found) != len(served):
        return f"{len(found)} requests were forwarded, {len(served)} served"
    for request, sent in zip(served, found, strict=True):
        if (sent.method, sent.target, sent.body) != (request.method, target_of(request), request.body):
            return f"asked {request}, forwarded {sent}"
        fields = tuple(field for field in sent.fields if field[0] not in added)
        wanted = tuple(field for field in forwarded_fields(request) if field[0] not in added)
        if any(host := request.all(b"host")) and sent.all(b"x-forwarded-host") != host:
            return f"asked host {host}, forwarded {sent.fields}"
        if fields != wanted:
            return f"asked with {request.fields}, forwarded {fields} instead of {wanted}"
    return None


def judge_written(written: Sequence[bytes]) -> str | None:
    """What we write to an upstream has one reading, whoever reads it."""
    for data in written:
        reading = read_requests(data)
        if reading.end == "bad":
            return f"we sent the upstream what is no request: {reading.why} {data[:200]!r}"
        for name, opinion in (("h11", h11_requests(data)), ("llhttp", llhttp_requests(data))):
            if opinion.refuses and "Invalid method" not in opinion.refuses:
                return f"{name} refuses what we sent the upstream: {opinion.refuses} {data[:200]!r}"
            if wrong := _differs(reading.requests, opinion):
                return f"{name} reads what we sent the upstream otherwise: {wrong}"
    return None


def judge_by_others(data: bytes, judged: Judgement) -> str | None:
    """What we served is what others read, as far as they read."""
    if judged.early:
        return None
    requests = read_requests(data).requests[: len(judged.served)]
    for name, opinion in (("h11", h11_requests(data)), ("llhttp", llhttp_requests(data))):
        if wrong := _differs(requests, opinion):
            return f"{name} reads what was accepted otherwise: {wrong}"
    return None


def _differs(requests: Sequence[Request], opinion: Opinion) -> str | None:
    for number, (request, read) in enumerate(zip(requests, opinion.requests, strict=False)):
        if (read.method, read.target, read.body) != (request.method, request.target, request.body):
            return f"request {number} is {read}, not {(request.method, request.target, request.body)}"
    return None
