"""A caller that sends exactly the bytes it is told to, and reads responses one by one."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec


@dataclass(frozen=True)
class RawResponse:
    """A response as it came."""

    version: str
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    @property
    def code(self) -> str:
        """Of a problem."""
        code: str = msgspec.json.decode(self.body)["code"]
        return code

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class RawCaller:
    """One connection to a gateway."""

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        place = urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=timeout_s)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def ask(self, *lines: str, body: bytes = b"") -> RawResponse:
        """Send a request and read its response."""
        return self.send(request(*lines, body=body)).read(to_head=lines[0].startswith("HEAD "))

    def reset(self) -> None:
        """Leave with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def read_head(self) -> RawResponse:
        """Read a head only, interim ones too."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name.lower(), value) for name, _, value in (line.partition(": ") for line in lines)]
        version, status, *_ = first.split(" ")
        return RawResponse(version, int(status), fields, b"")

    def read(self, *, to_head: bool = False) -> RawResponse:
        """Read one response by its framing, up to the connection's end if it has none."""
        head = self.read_head()
        if to_head or head.status in {204, 304} or head.status < 200:
            body = b""
        elif head.get("transfer-encoding") is not None:
            body = self.read_chunks()
        elif (length := head.get("content-length")) is not None:
            body = self._exactly(int(length))
        else:
            body = self.rest()
        return RawResponse(head.version, head.status, head.fields, body)

    def read_chunks(self) -> bytes:
        body = b""
        while size := int(self._line(), 16):
            body += self._exactly(size)
            assert self._exactly(2) == b"\r\n"
        assert self._exactly(2) == b"\r\n"
        return body

    def read_some(self) -> bytes:
        """Whatever comes next; empty at the end."""
        data, self._buffer = self._buffer, b""
        return data or self.socket.recv(65_536)

    def rest(self) -> bytes:
        """Everything until the gateway closes; a reset counts as a close."""
        data, self._buffer = self._buffer, b""
        try:
            while part := self.socket.recv(65_536):
                data += part
        except ConnectionError:
            pass
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._more()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exactly(self, count: int) -> bytes:
        parts, missing = [self._buffer], count - len(self._buffer)
        while missing > 0:
            parts.append(self.socket.recv(65_536))
            missing -= len(parts[-1])
            if not parts[-1]:
                raise EOFError(f"closed with {missing} bytes missing")
        data = b"".join(parts)
        self._buffer = data[count:]
        return data[:count]

    def _more(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise EOFError(f"closed after {self._buffer!r}")
        self._buffer += data


def listens(url: str) -> bool:
    """Whether anybody takes connections there."""
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname, place.port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def request(first: str, *fields: str, body: bytes = b"") -> bytes:
    """A request: `GET /x`, field lines, and what follows. With Host, and HTTP/1.1 unless `first` says another."""
    line = first if " HTTP/" in first else f"{first} HTTP/1.1"
    host = () if any(field.lower().startswith("host:") for field in fields) else ("Host: api.test",)
    return "\r\n".join([line, *host, *fields, "", ""]).encode() + body
