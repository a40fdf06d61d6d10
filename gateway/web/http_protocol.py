"""Our own HTTP/1.1 server protocol: uvicorn's, changed in two ways.

Trailer fields end here. uvicorn adds them to the request's headers; when they arrive with the
head, the app sees them there, and nothing has told it that they came from somewhere else.

An Upgrade is an offer that this server does not take up (RFC 9110 section 7.8). httptools takes
all that follows one for another protocol: a body would be lost, or read as the next request.
So what follows is read by a parser that has not seen the offer. It also spares the log: some
clients offer HTTP/2 with every first request (Java's HttpClient, `curl --http2`).

Under another server neither holds: see `gateway.web.middleware.Edge`.
"""

from __future__ import annotations

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class FrontProtocol(HttpToolsProtocol):
    """One connection. For uvicorn: `http="gateway.web.http_protocol:FrontProtocol"`."""

    _in_head = False
    _repeats_head = False

    def data_received(self, data: bytes) -> None:
        """Bytes from the caller."""
        self._unset_keepalive_if_required()
        try:
            while data:
                data = self._feed(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _feed(self, data: bytes) -> bytes:
        """Parse; returns what an Upgrade has left unread."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if framing := self._framing():
                self._read_body_of(framing)
            return data[offer.args[0] :]
        return b""

    def _framing(self) -> bytes:
        """The fields that delimit the current request's body, as header lines."""
        return b"".join(b"%b: %b\r\n" % (name, value) for name, value in self.headers if name in _FRAMING)

    def _read_body_of(self, framing: bytes) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._repeats_head = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
        self._repeats_head = False

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        if not self._repeats_head:
            self._in_head = True
            super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of its target."""
        if not self._repeats_head:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of its head, or of its trailers, which are dropped."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head has come."""
        if not self._repeats_head:
            self._in_head = False
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """It has come in full, unless the parser only stops at an offer and the body is still to be read."""
        if not (self.parser.should_upgrade() and self._framing()):
            super().on_message_complete()
