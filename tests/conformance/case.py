"""What a case is: bytes to send, and what must come of them at both ends.

A case says what is right (RFC 9110, RFC 9112, and the stricter rules of docs/conformance.md), whatever
server is in front. Alternatives are for what the rules leave open. Where a server does not let the
gateway see something, what comes of it there stands in `blind_spots`.

`KEY` stands for the caller's API key and is as long as one, so that lengths stay right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

from gateway.core.keys import KEY_LENGTH

KEY = b"<key".ljust(KEY_LENGTH - 1, b".") + b">"
HOST = b"api.test"
ALL_SERVERS = ("ours", "uvicorn-httptools", "uvicorn-h11", "granian")

After: TypeAlias = Literal["closed", "open", "either"]


class Pause(Enum):
    """What to do between two writes."""

    FOR_INTERIM = "read one answer; go on if it is an interim one"
    FOR_UPSTREAM = "until the upstream has the request's head"
    EOF = "send no more, ever"


Step: TypeAlias = bytes | Pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer as the caller gets it."""

    status: tuple[int, ...]
    """Any of these."""
    code: str | tuple[str, ...] | None = None
    """Code of the problem (or any of these), if the answer is one: a server may have refused before us, in
    its own words. None: not looked at."""
    body: bytes | None = None
    """The whole of it; None: not looked at."""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """All that stands under these names, in order."""
    lacks: tuple[bytes, ...] = ()
    """Names that are not there."""
    cut: bool = False
    """It ends before its own end, so that nobody takes it for the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """One request as the upstream gets it."""

    line: bytes = b"GET /v1/x HTTP/1.1"
    fields: tuple[tuple[bytes, bytes], ...] = ()
    """All end-to-end fields in order, without those that the gateway adds itself."""
    added: tuple[tuple[bytes, bytes], ...] = ()
    """Of those that the gateway adds, all that stands under these names, in order."""
    body: bytes | None = b""
    """Decoded; None: not looked at."""
    cut: bool = False
    """It ends before its own end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What comes of a case."""

    answers: tuple[Answer, ...] = ()
    after: After = "either"
    """Whether the connection takes another request then."""
    forwarded: tuple[Forwarded, ...] = ()
    charged: int | None = None
    """Units that stay charged. None: one for each request forwarded."""
    may_hang_up: bool = False
    """Closing without an answer will do too."""
    may_have_begun: bool = False
    """The upstream may have got the beginning of a request, never its end; then it may have been charged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """How the upstream answers the case's requests."""

    sends: bytes | None = None
    """Raw bytes. None: a good answer whose body is the request's target."""
    then: Literal["keep", "close", "reset", "hang"] = "keep"
    early: bool = False
    """Answers as soon as it has the head."""
    pads_to: int = 0
    """After `sends`, that many more bytes of `x`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One connection's worth of bytes."""

    says: str
    sends: tuple[Step, ...]
    expects: tuple[Expected, ...]
    upstream: Upstream = field(default_factory=Upstream)
    whole: bool = True
    """Every message in it is complete, so another request may follow at once."""
    impatient: bool = False
    """Played against a gateway whose time-outs are short."""


# Bytes.


def request(
    *lines: bytes, start: bytes = b"GET /v1/x HTTP/1.1", host: bytes | None = HOST, key: bytes | None = KEY
) -> bytes:
    """A request's head."""
    first = [start] if host is None else [start, b"Host: " + host]
    last = [] if key is None else [b"X-API-Key: " + key]
    return b"\r\n".join([*first, *lines, *last, b"", b""])


def post(*lines: bytes, body: bytes = b"", key: bytes | None = KEY, version: bytes = b"HTTP/1.1") -> bytes:
    """A POST with whatever framing the lines say."""
    return request(*lines, start=b"POST /v1/x " + version, key=key) + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    """A POST whose chunked body is given raw."""
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


# Expectations.

BAD = "malformed-request"
TARGET = "ambiguous-target"
METHOD = "method-not-supported"
VERSION = "http-version-not-supported"


def refusal(
    *status: int, code: str | tuple[str, ...] | None = BAD, after: After = "closed", hang_up: bool = False
) -> Expected:
    """One refusal; nothing forwarded, nothing charged."""
    return Expected(answers=(Answer(status=status, code=code),), after=after, may_hang_up=hang_up)


def relayed(*forwarded: Forwarded, after: After = "open", body: bytes | None = b"/v1/x") -> Expected:
    """Requests that pass, each with its good answer."""
    return Expected(answers=(Answer(status=(200,), body=body),) * len(forwarded), after=after, forwarded=forwarded)


def posted(body: bytes = b"hello", *fields: tuple[bytes, bytes]) -> Forwarded:
    """The POST of `post`, as it is forwarded."""
    return Forwarded(line=b"POST /v1/x HTTP/1.1", fields=fields, body=body)


BROKEN_BODY = Expected(answers=(Answer(status=(400, 413, 431)),), after="closed", may_hang_up=True, may_have_begun=True)
"""The head was good and may have been forwarded; the body shows that it cannot go on."""


def refused(says: str, sends: bytes, *status: int, whole: bool = True, **options: Any) -> Case:
    """A case in which one request is refused: 400 and closed, unless said otherwise."""
    return Case(says=says, sends=(sends,), expects=(refusal(*(status or (400,)), **options),), whole=whole)


def passed(says: str, sends: bytes, *forwarded: Forwarded, **options: Any) -> Case:
    """A case in which every request passes."""
    return Case(says=says, sends=(sends,), expects=(relayed(*(forwarded or (Forwarded(),)), **options),))
