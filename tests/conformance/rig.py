"""Plays a case against a gateway, and says what came out otherwise than expected.

Each case is played three ways: `alone`, each write at once, and then another request on the same
connection; `followed`, that other request in the same write, where what two parsers disagree on
would show; `in pieces`, byte by byte.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from redis import Redis

from gateway.cache.keyspace import use_key
from tests.conformance.case import KEY, Answer, Case, Expected, Forwarded, Pause, Step
from tests.conformance.recorder import SENTINEL, Record, Recorder
from tests.conformance.servers import Gateway
from tests.conformance.wire import Caller, NotHttp, Received, calling

WAYS = ("alone", "followed", "in pieces")
_ADDED_PREFIXES = (b"x-tiergate-", b"x-forwarded-")
_ADDED = frozenset(
    {b"host", b"via", b"x-request-id", b"forwarded", b"traceparent", b"tracestate"}
    | {b"content-length", b"transfer-encoding"}
)
_ONCE = (b"host", b"via", b"x-tiergate-customer", b"x-tiergate-tier", b"x-tiergate-decision", b"x-forwarded-for")
_FINAL = 200
_LOOKS = 200
"""At the counters after a case, each 5 ms later than the one before."""
_LOOKS_IF_OPEN = 20
"""So many must see the same, where more than one number is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a case."""

    answers: tuple[Received, ...]
    problem: str | None
    """What made reading end, if it was not the connection's end."""
    open: bool
    """The connection took another request."""
    records: tuple[Record, ...]
    """What the upstream was sent, without the request that followed the case."""


class Rig:
    """One gateway and the upstream behind it."""

    def __init__(self, gateway: Gateway, recorder: Recorder, cache: Redis) -> None:
        self._gateway = gateway
        self._recorder = recorder
        self._cache = cache
        self._use_key = use_key(gateway.customer_id)
        self._expected_units = 0
        self._after = b"GET %b HTTP/1.1\r\nHost: api.test\r\nX-API-Key: %b\r\nConnection: close\r\n\r\n" % (
            SENTINEL,
            gateway.key,
        )

    async def check(self, case: Case, alternatives: tuple[Expected, ...]) -> None:
        """Play it in every way, and compare with what may come of it."""
        wrong = []
        for way in _ways_of(case):
            outcome = await self._play(case, way)
            faults = [_faults(expected, outcome, self._gateway.key) for expected in alternatives]
            fitting = [one for one, found in zip(alternatives, faults, strict=True) if not found] or alternatives
            units = {units for expected in fitting for units in _may_be_charged(expected, outcome)}
            spent = await self._spent(units)
            if spent not in units:
                faults = [[*found, f"charged {spent}, expected {sorted(units)}"] for found in faults]
            if all(faults):
                wrong.append(f"{way}: " + " OR ".join("; ".join(found) for found in faults))
        assert not wrong, " | ".join(wrong)

    async def nothing_is_late(self) -> None:
        """No charge moved after the case that it belongs to."""
        units = self._units()
        assert units == self._expected_units, f"{units} units are charged, and {self._expected_units} were seen"

    async def _play(self, case: Case, way: str) -> Outcome:
        recorder = self._recorder
        recorder.records.clear()
        recorder.behaviour = case.upstream
        async with calling(self._gateway.port) as caller:
            answers, problem = await self._converse(caller, case, way)
        open_after = any(record.target == SENTINEL for record in recorder.records)
        if open_after and problem is None:
            last = answers.pop()
            if last.status != _FINAL or last.body != SENTINEL:
                problem = f"the next request was answered with {last}"
        if not open_after:
            await self._fence()
        await recorder.settled()
        records = tuple(record for record in recorder.records if record.target != SENTINEL)
        return Outcome(answers=tuple(answers), problem=problem, open=open_after, records=records)

    async def _fence(self) -> None:
        """A request on a new connection. When it is answered, all that came before it has been decided."""
        async with calling(self._gateway.port) as caller:
            await caller.send(self._after)
            answer = await caller.answer(b"GET")
            assert answer is not None
            assert answer.body == SENTINEL, answer

    async def _converse(self, caller: Caller, case: Case, way: str) -> tuple[list[Received], str | None]:
        """Everything said on one connection until it ends, and why reading stopped if not for that."""
        answers: list[Received] = []
        methods = _methods(case)
        try:
            await self._say(caller, case, way, answers)
            while True:
                if _finals(answers) == len(methods) - 1 and way != "followed":
                    if not _goes_on(case) and not _must_close(case):
                        break
                    if _goes_on(case):
                        await caller.send(self._after)
                answer = await caller.answer(methods[min(_finals(answers), len(methods) - 1)])
                if answer is None:
                    break
                answers.append(answer)
                if answer.cut or answer.to_close:
                    break
        except NotHttp as error:
            return answers, str(error)
        except TimeoutError:
            return answers, "neither an answer nor an end"
        return answers, None

    async def _say(self, caller: Caller, case: Case, way: str, answers: list[Received]) -> None:
        steps: list[Step] = [
            step.replace(KEY, self._gateway.key) if isinstance(step, bytes) else step for step in case.sends
        ]
        if way == "followed":
            steps[-1] += self._after  # type: ignore[operator]  # whole cases end in bytes
        for step in steps:
            if isinstance(step, bytes):
                await caller.send(step, in_pieces=way == "in pieces")
            elif step is Pause.EOF:
                caller.end()
            elif step is Pause.FOR_UPSTREAM:
                if not await self._recorder.until(lambda: bool(self._recorder.records)):
                    raise NotHttp("nothing was forwarded")
            else:
                answer = await caller.answer(b"GET")
                if answer is None:
                    return
                answers.append(answer)
                if answer.status >= _FINAL:
                    return

    async def _spent(self, expected: set[int]) -> int:
        """Units charged since the last case, once they are as expected or will not be.

        Of several numbers it is the one that stays: what has only begun may be given back after its answer.
        """
        before = self._expected_units + 1  # one for the request that followed
        stays = 0
        wanted = 1 if len(expected) == 1 else _LOOKS_IF_OPEN
        units = self._units() - before
        for _ in range(_LOOKS):
            stays = stays + 1 if units in expected else 0
            if stays == wanted:
                break
            await asyncio.sleep(0.005)
            last, units = units, self._units() - before
            stays = stays if units == last else 0
        self._expected_units = before + units
        return units

    def _units(self) -> int:
        use: dict[bytes, bytes] = self._cache.hgetall(self._use_key)  # type: ignore[assignment]
        return sum(int(value.split(b"|")[1]) for name, value in use.items() if name.startswith(b"q:"))


def _ways_of(case: Case) -> tuple[str, ...]:
    """How a case can be played."""
    if case.impatient:
        return ("alone",)
    return WAYS if case.whole and isinstance(case.sends[-1], bytes) else ("alone", "in pieces")


def _goes_on(case: Case) -> bool:
    """Whether another request may follow on the connection."""
    return case.whole or any(expected.after == "open" for expected in case.expects)


def _must_close(case: Case) -> bool:
    return all(expected.after == "closed" for expected in case.expects)


def _methods(case: Case) -> list[bytes]:
    """Methods of the requests that are answered, the one that follows included."""
    wanted = max(_finals_expected(expected) for expected in case.expects)
    lines = [expected.forwarded for expected in case.expects if expected.forwarded]
    methods = [one.line.split(b" ")[0] for one in lines[0]] if lines else []
    first = case.sends[0]
    if not methods and isinstance(first, bytes):
        methods = [first.lstrip(b"\r\n").split(b" ")[0]]
    methods = methods[:wanted] + [b"GET"] * (wanted - len(methods))
    return [*methods, b"GET"]


def _finals_expected(expected: Expected) -> int:
    return sum(answer.status[0] >= _FINAL for answer in expected.answers)


def _finals(answers: list[Received]) -> int:
    return sum(answer.status >= _FINAL for answer in answers)


def _faults(expected: Expected, outcome: Outcome, key: bytes) -> list[str]:
    """What is otherwise than expected."""
    faults = [] if outcome.problem is None else [outcome.problem]
    hung_up = expected.may_hang_up and not outcome.answers and not outcome.open
    if not hung_up:
        faults += _answer_faults(expected.answers, outcome.answers)
    if expected.after == "closed" and outcome.open:
        faults.append("the connection takes another request")
    if expected.after == "open" and not outcome.open:
        faults.append("the connection was closed")
    if not _has_only_begun(expected, outcome):
        faults += _record_faults(expected.forwarded, outcome.records, key)
    return faults


def _has_only_begun(expected: Expected, outcome: Outcome) -> bool:
    return expected.may_have_begun and all(record.state == "cut" for record in outcome.records)


def _may_be_charged(expected: Expected, outcome: Outcome) -> set[int]:
    charged = {len(expected.forwarded) if expected.charged is None else expected.charged}
    return charged | {0, 1} if _has_only_begun(expected, outcome) else charged


def _answer_faults(expected: tuple[Answer, ...], got: tuple[Received, ...]) -> list[str]:
    statuses = [answer.status for answer in got]
    if len(expected) != len(got):
        return [f"answers {statuses}, expected {[answer.status for answer in expected]}"]
    return [fault for want, have in zip(expected, got, strict=True) for fault in _differences(want, have)]


def _differences(want: Answer, have: Received) -> list[str]:
    faults = []
    if have.status not in want.status:
        faults.append(f"status {have.status}, expected {want.status}")
    if b"application/problem+json" in have.all(b"content-type") and have.body and not have.cut:
        problem = json.loads(have.body)
        codes = (want.code,) if isinstance(want.code, str) else want.code
        if problem["status"] != have.status or (codes is not None and problem["code"] not in codes):
            faults.append(f"problem {problem['code']}, expected {want.code}")
    if want.body is not None and have.body != want.body:
        faults.append(f"body {have.body[:200]!r}, expected {want.body[:200]!r}")
    if have.cut != want.cut:
        faults.append("it breaks off" if have.cut else "it ends as if it were whole")
    for name in dict.fromkeys(name for name, _ in want.fields):
        values = [value for key, value in want.fields if key == name]
        if have.all(name) != values:
            faults.append(f"{name!r} is {have.all(name)}, expected {values}")
    faults += [f"{name!r} is there" for name in want.lacks if have.all(name)]
    return faults


def _record_faults(expected: tuple[Forwarded, ...], got: tuple[Record, ...], key: bytes) -> list[str]:
    if len(expected) != len(got):
        return [f"forwarded {[record.head.line for record in got]}, expected {[one.line for one in expected]}"]
    return [fault for want, have in zip(expected, got, strict=True) for fault in _deviations(want, have, key)]


def _deviations(want: Forwarded, have: Record, key: bytes) -> list[str]:
    fields = have.fields
    faults = []
    if have.head.line != want.line:
        faults.append(f"forwarded {have.head.line!r}, expected {want.line!r}")
    own = tuple(field for field in fields if field[0] not in _ADDED and not field[0].startswith(_ADDED_PREFIXES))
    if own != tuple((name, value.replace(KEY, key)) for name, value in want.fields):
        faults.append(f"fields {own}, expected {want.fields}")
    for name in dict.fromkeys(name for name, _ in want.added):
        values = [value for key, value in fields if key == name]
        if values != [value for key, value in want.added if key == name]:
            faults.append(f"{name!r} is {values}")
    faults += [f"{name!r} is not there once" for name in _ONCE if sum(key == name for key, _ in fields) != 1]
    if (have.state == "cut") != want.cut:
        faults.append(f"the request is {have.state}")
    if want.body is not None and have.body != want.body.replace(KEY, key):
        faults.append(f"body {have.body[:200]!r}, expected {want.body[:200]!r}")
    return faults
