"""The size of a request's body: as announced, and not above the cap."""

from __future__ import annotations

from gateway.core.errors import BodyTooLarge
from gateway.core.http_body import CHUNKED
from gateway.upstream.errors import ClientFaulty


class BodySize:
    """Counts a body as it comes.

    Args:
        framing: The announced length, or `CHUNKED`; None for no body.
        max_bytes: Cap.

    Raises:
        BodyTooLarge: The announced length exceeds the cap.
    """

    __slots__ = ("_framing", "_max_bytes", "complete", "read_bytes")

    def __init__(self, framing: int | None, max_bytes: int) -> None:
        if framing is not None and framing > max_bytes:
            raise _too_large()
        self._framing = framing
        self._max_bytes = max_bytes
        self.read_bytes = 0
        self.complete = framing is None

    def add(self, count: int, *, ended: bool) -> None:
        """Another part.

        Raises:
            ClientFaulty: The body is not as long as announced.
            BodyTooLarge: It exceeds the cap.
        """
        self.read_bytes += count
        if self.read_bytes > self._max_bytes:
            raise _too_large()
        framing = self._framing
        if framing not in (None, CHUNKED) and (self.read_bytes > framing or (ended and self.read_bytes < framing)):
            raise ClientFaulty("The caller's body is not as long as it announced.")
        self.complete = ended


def _too_large() -> BodyTooLarge:
    return BodyTooLarge("The request body is larger than this gateway accepts.")
