"""Opening a WebSocket to the upstream: the request's head, and what comes back.

The head is written here and not by a client library, so no field is added, moved or rewritten:
no User-Agent, no redirect, no proxy from the environment. The key is this hop's own, no extension is
offered (frames between us and the upstream are not compressed), and of the subprotocols
only one that was offered may come back.

An answer other than 101 is read like any response, whole and up to a cap, so that the caller
can be told the same.

Source: RFC 6455 sections 4.1 and 4.2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.utils import accept_key, generate_key

from gateway.core.errors import UpstreamInvalid
from gateway.core.forwarding import HANDSHAKE_PREFIX, HOP_BY_HOP, via_line
from gateway.core.http_body import BodyInvalid, BodyReader, body_reader
from gateway.core.http_head import END_OF_HEAD, FieldLines, HeadInvalid, parse_status_line
from gateway.core.websocket import VERSION, is_token
from gateway.upstream.response_head import (
    MAX_HEAD_BYTES,
    ResponseHead,
    check_unfinished_head,
    parse_response_head,
    without,
)
from gateway.upstream.values import ExchangeRequest

if TYPE_CHECKING:
    from gateway.upstream.upstream import Upstream

_SWITCHING = b"HTTP/1.1 101"
_MAX_INTERIM = 16
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
_END_TO_END, _ENDS_HERE = range(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketRequest:
    """What to ask the upstream."""

    exchange: ExchangeRequest
    """As for any GET, without fields of a handshake (`core.forwarding`): they are each hop's own."""
    subprotocols: tuple[str, ...] = ()
    """What the caller offers, in its order (`core.websocket.parse_subprotocols`)."""
    fallback: str | None = None
    """Subprotocol that the caller is told of if the upstream chooses none. One that it offered."""
    extensions: Mapping[str, Any] = field(default_factory=dict)
    """`scope["extensions"]`: how the caller can be told of a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """The upstream has accepted."""

    head: ResponseHead
    """Its 101, without the fields of the handshake."""
    subprotocol: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The upstream has answered with a response of its own."""

    head: ResponseHead
    body: bytes
    is_whole: bool
    """Whether the body was within the cap. If not, it is empty here, and what describes it says nothing true."""


@dataclass(slots=True)
class Handshake:
    """Reads one answer to one request.

    Args:
        offered: Subprotocols in the request.
        max_body: Cap on a refusal's body.
    """

    offered: tuple[str, ...]
    max_body: int
    key: str = field(default_factory=generate_key)
    surplus: bytes = b""
    """What followed a 101: frames."""
    _data: bytes = b""
    _interim: int = 0
    _head: ResponseHead | None = None
    _reader: BodyReader | None = None
    _body: bytearray = field(default_factory=bytearray)
    _too_long: bool = False

    def request_head(self, request: ExchangeRequest, upstream: Upstream) -> bytes:
        """The bytes to send.

        Raises:
            MalformedRequest: A header holds a line break.
        """
        lines = [*request.lines, b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-version: " + VERSION]
        lines.append(b"sec-websocket-key: " + self.key.encode("ascii"))
        if self.offered:
            lines.append(b"sec-websocket-protocol: " + ", ".join(self.offered).encode("ascii"))
        return upstream.request_head(ExchangeRequest("GET", request.target, lines, host=request.host), None)

    @property
    def answered(self) -> bool:
        """Whether a response has begun to arrive."""
        return bool(self._data) or self._interim > 0 or self._head is not None

    def feed(self, data: bytes) -> Switched | Refusal | None:
        """Take bytes from the upstream; returns its answer once that is there in full.

        Raises:
            UpstreamInvalid: It is neither a good 101 nor one well-formed response.
        """
        if self._reader is not None:
            return self._read_body(self._reader, data)
        self._data += data
        while 0 <= (end := self._data.find(END_OF_HEAD)) <= MAX_HEAD_BYTES:
            head, self._data = self._data[:end], self._data[end + len(END_OF_HEAD) :]
            if head.startswith(_SWITCHING):
                self.surplus = self._data
                return self._parse_switch(head)
            reader = self._read_head(parse_response_head(head, to_head=False))
            if reader is not None:
                return self._read_body(reader, self._data)
        check_unfinished_head(self._data)
        return None

    def closed(self) -> Refusal:
        """The answer, if the upstream hangs up, cleanly, right now.

        Raises:
            UpstreamInvalid: It is not complete.
        """
        if self._reader is None or not self._reader.closed():
            raise UpstreamInvalid("The upstream closed the connection in the middle of its response.")
        return self._refusal()

    def _read_head(self, head: ResponseHead) -> BodyReader | None:
        """The reader of what follows, if this is the final head."""
        if head.is_interim:
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise UpstreamInvalid("The upstream sent interim responses without end.")
            return None
        self._head = head
        self._reader = body_reader(head.framing)
        return self._reader

    def _read_body(self, reader: BodyReader, data: bytes) -> Refusal | None:
        if data and not reader.complete:
            try:
                payload = reader.feed(data)
            except BodyInvalid as error:
                raise UpstreamInvalid("The upstream broke the framing of its response's body.") from error
            if not self._too_long:
                self._body += payload
        if len(self._body) > self.max_body:
            self._too_long = True
            return self._refusal()
        return self._refusal() if reader.complete else None

    def _refusal(self) -> Refusal:
        head = self._head
        assert head is not None  # noqa: S101 - for the type checker: there is a body reader
        return Refusal(head=head, body=b"" if self._too_long else bytes(self._body), is_whole=not self._too_long)

    def _parse_switch(self, data: bytes) -> Switched:
        head = ResponseHead(101, "1.1")
        fields: list[tuple[bytes, bytes]] = []
        first, *lines = data.split(b"\r\n")
        try:
            is_switch = parse_status_line(first).status == head.status
            for line in lines:
                pair, kind = _lines.read(line)
                fields.append(pair)
                if kind == _END_TO_END:
                    head.lines.append(line)
        except HeadInvalid as invalid:
            raise UpstreamInvalid("The upstream's response head is malformed.") from invalid
        connection = {
            token.strip(b" \t").lower() for value in _values(fields, b"connection") for token in value.split(b",")
        }
        if (
            not is_switch
            or [value.lower() for value in _values(fields, b"upgrade")] != [b"websocket"]
            or b"upgrade" not in connection
            or _values(fields, b"sec-websocket-accept") != [accept_key(self.key).encode("ascii")]
        ):
            raise UpstreamInvalid("The upstream's WebSocket handshake is not one.")
        if _values(fields, b"sec-websocket-extensions") or any(_values(fields, name) for name in _LENGTHS):
            raise UpstreamInvalid("The upstream's WebSocket handshake claims an extension or a body.")
        head.lines = [*without(head.lines, connection), via_line("1.1")]
        head.has_date, head.has_ratelimit = bool(_values(fields, b"date")), bool(_values(fields, b"ratelimit"))
        return Switched(head=head, subprotocol=self._chosen(_values(fields, b"sec-websocket-protocol")))

    def _chosen(self, values: list[bytes]) -> str | None:
        if not values:
            return None
        if len(values) > 1 or not is_token(values[0]) or values[0].decode("ascii") not in self.offered:
            raise UpstreamInvalid("The upstream chose a WebSocket subprotocol that was not offered.")
        return values[0].decode("ascii")


def _kind_of(name: bytes) -> int:
    return _ENDS_HERE if name in HOP_BY_HOP or name.startswith(HANDSHAKE_PREFIX) else _END_TO_END


_lines = FieldLines(_kind_of)


def _values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]
