"""What a blind spot is, and what several servers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.case import Expected, Forwarded, posted, relayed

HTTPTOOLS, H11, GRANIAN = "uvicorn-httptools", "uvicorn-h11", "granian"
OWN_PROTOCOL = "our server protocol (`tiergate serve`)"
STRICT_PROXY = "our server protocol, or a strict proxy in front (nginx, HAProxy, Envoy)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpot:
    """Something that one server hides from the gateway, or does in a way of its own."""

    server: str
    hides: str
    """What it does, as the rest of a sentence that begins with its name."""
    effect: str
    """What that means to the operator."""
    closed_by: str
    """The setting or front that closes it."""
    cases: Mapping[str, tuple[Expected, ...]]
    """What comes of which cases instead; empty: not played."""


NOT_PLAYED: tuple[Expected, ...] = ()
PASSES = (relayed(Forwarded()),)
POSTED = (relayed(posted()),)
OTHER_HOST = "a target in absolute form is refused, or its host wins over Host"
FTP = "an absolute target of another scheme is refused"
SLOW_HEADS = (
    "a head that does not come to its end is given up",
    "a request line that does not come to its end is given up",
)
LINE_FEEDS = {
    "lines that end in a line feed only are refused": (relayed(Forwarded(fields=((b"x-a", b"b"),))),),
    "a head that ends in a line feed only is refused": (relayed(Forwarded(fields=((b"x-a", b"b"),))),),
    "a request line that ends in a line feed only is refused": PASSES,
    "a coding behind a bare line feed is refused": (relayed(posted(b"hello", (b"x-a", b"b"))),),
}
HTTP_0_9 = "a request of HTTP/0.9 is refused, or given up"
