"""Frames to messages and back: the `websockets` library's Sans-I/O protocol, with its memory bounded.

What has arrived is parsed a slice at a time and only while no message waits, so that a flood of
tiny frames never becomes a flood of objects. The parts of a message are joined as they come: an
endless row of empty ones costs nothing.
"""

from __future__ import annotations

import logging
from collections import deque

from websockets.frames import Frame, Opcode
from websockets.protocol import SEND_EOF, Protocol, Side, State

from gateway.core.websocket import ABNORMAL, INVALID_DATA, NO_STATUS, short_reason

_SLICE = 8192
_PING = b"tiergate"

_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.ERROR)  # at debug level the library writes out what travels


class Frames:
    """The client's side of one connection. Bytes to send are to be fetched with `outgoing` after each call."""

    __slots__ = (
        "_at",
        "_is_text",
        "_messages",
        "_parts",
        "_protocol",
        "_raw",
        "_taken",
        "close_code",
        "close_reason",
        "ended",
        "fault",
    )

    def __init__(self, max_message_bytes: int) -> None:
        self._protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=max_message_bytes, logger=_quiet)
        self._raw = b""
        self._at = 0
        self._messages: deque[str | bytes] = deque()
        self._taken = 0
        self._parts: bytearray | None = None
        self._is_text = False
        self.ended = False
        """Nothing more will come: the other side has closed, or broken the protocol."""
        self.close_code = ABNORMAL
        """The other side's, if `ended`; 1005 if it gave none, 1006 if it sent no close frame."""
        self.close_reason = ""
        self.fault: tuple[int, str] | None = None
        """What the other side did wrong: the code and reason that it was told."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is State.OPEN

    @property
    def held(self) -> int:
        """Bytes that have come and that nobody has taken, read or not."""
        return len(self._raw) - self._at + self._taken

    def feed(self, data: bytes) -> None:
        """Take bytes; a message is looked for at once if none waits."""
        self._raw = self._raw[self._at :] + data if self._at < len(self._raw) else data
        self._at = 0
        self._parse()

    def take(self) -> str | bytes | None:
        """The next message, if one has come in full."""
        if not self._messages:
            self._parse()
            if not self._messages:
                return None
        message = self._messages.popleft()
        self._taken -= len(message)
        return message

    def drop(self) -> None:
        """Give up the messages that have come; what follows is to be skipped."""
        rest = self._raw[self._at :]
        self._raw, self._at, self._taken = b"", 0, 0
        self._messages.clear()
        self.ended = True
        self.skip(rest)

    def skip(self, data: bytes) -> None:
        """After the end: read only for the other side's close."""
        for at in range(0, len(data), _SLICE):
            if self._protocol.parser_exc is None:
                self._protocol.receive_data(data[at : at + _SLICE])
                self._protocol.events_received()
                self._protocol.data_to_send()

    def send(self, data: bytes, *, is_text: bool) -> None:
        """Write a message, if the connection still takes one."""
        if self.is_open:
            if is_text:
                self._protocol.send_text(data)
            else:
                self._protocol.send_binary(data)

    def ping(self) -> None:
        """Ask for a sign of life."""
        if self.is_open:
            self._protocol.send_ping(_PING)

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, unless that is done. 1005 writes a close frame without a code."""
        if self.is_open:
            if code == NO_STATUS:
                self._protocol.send_close()
            else:
                self._protocol.send_close(code, short_reason(reason))

    def outgoing(self) -> list[bytes]:
        """What is to be sent now."""
        return [piece for piece in self._protocol.data_to_send() if piece is not SEND_EOF]

    def _parse(self) -> None:
        while not self._messages and not self.ended and self._at < len(self._raw):
            part = self._raw[self._at : self._at + _SLICE]
            self._at += len(part)
            self._protocol.receive_data(part)
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and not self.ended:
                    self._take_frame(event)
            if self._protocol.parser_exc is not None and not self.ended:
                self._blame()

    def _take_frame(self, frame: Frame) -> None:
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            received = self._protocol.close_rcvd
            if received is not None:
                self.close_code, self.close_reason = int(received.code), received.reason
            self.ended = True
        elif opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
            if frame.fin:
                self._take_message(frame.data)
            else:
                self._parts = bytearray(frame.data)
        elif opcode is Opcode.CONT and self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                parts, self._parts = self._parts, None
                self._take_message(parts)

    def _take_message(self, data: bytes | bytearray | memoryview) -> None:
        message: str | bytes
        if self._is_text:
            try:
                message = str(data, "utf-8")
            except UnicodeDecodeError:
                self._protocol.fail(INVALID_DATA, "text that is not UTF-8")
                self._blame()
                return
        else:
            message = bytes(data)
        self._messages.append(message)
        self._taken += len(message)

    def _blame(self) -> None:
        sent = self._protocol.close_sent
        self.fault = (int(sent.code), sent.reason) if sent is not None else (NO_STATUS, "")
        self.ended = True
