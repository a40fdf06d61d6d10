"""How other people's parsers read the same bytes: h11, which is strict, and llhttp, which Node.js is built on.

An opinion is the requests that a parser reads before it stops, and whether it stopped because it
refuses to go on. Both are asked only about what the gateway has accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h11
import httptools


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One request as a parser reads it."""

    method: bytes
    target: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a parser reads."""

    requests: tuple[Read, ...]
    refuses: str | None
    """Why it does not read on; None if it would."""


def h11_requests(data: bytes) -> Opinion:
    """Read a stream of requests with h11, as a server that answers each at once."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    connection.receive_data(data)
    found: list[Read] = []
    try:
        while True:
            event: Any = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return Opinion(requests=tuple(found), refuses=None)
            if isinstance(event, h11.Request):
                body = b""
                while isinstance(part := connection.next_event(), h11.Data):
                    body += bytes(part.data)
                if not isinstance(part, h11.EndOfMessage):
                    return Opinion(requests=tuple(found), refuses=None)
                found.append(Read(method=event.method, target=event.target, body=body))
                connection.send(h11.Response(status_code=204, headers=[]))
                connection.send(h11.EndOfMessage())
                if connection.states[h11.SERVER] is not h11.DONE or connection.states[h11.CLIENT] is not h11.DONE:
                    return Opinion(requests=tuple(found), refuses=None)
                connection.start_next_cycle()
    except h11.ProtocolError as error:
        return Opinion(requests=tuple(found), refuses=str(error))


class _Listener:
    def __init__(self) -> None:
        self.found: list[Read] = []
        self.target, self.body = b"", b""
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self.target, self.body = b"", b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.found.append(Read(method=self.parser.get_method(), target=self.target, body=self.body))


def llhttp_requests(data: bytes) -> Opinion:
    """Read a stream of requests with httptools."""
    listener = _Listener()
    try:
        listener.parser.feed_data(data)
    except httptools.HttpParserUpgrade:  # what follows the head is left to somebody else
        return Opinion(requests=tuple(listener.found[:-1]), refuses=None)
    except httptools.HttpParserError as error:
        return Opinion(requests=tuple(listener.found), refuses=f"{type(error).__name__}: {error}")
    return Opinion(requests=tuple(listener.found), refuses=None)


def h11_response(data: bytes, method: bytes, *, ended: bool) -> tuple[int, bytes] | str | None:
    """Status and body of a whole response as h11 reads it; why it refuses it; None if it is not whole."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=200_000)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        connection.receive_data(data)
        if ended:
            connection.receive_data(b"")
        while True:
            event: Any = connection.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
    except h11.ProtocolError as error:
        return str(error)
