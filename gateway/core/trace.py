"""How one call is told from another across hops: request ids and the W3C trace context.

A request id is what people quote to each other, so only a trusted proxy may choose one. A trace
context carries no trust: it is passed from anybody, and nothing is ever decided by it.

This gateway records no spans. So what came well-formed is passed as it came, tracestate
included: a span id of ours would name a parent that no tracing system has ever seen, and would
cut every trace in two. What is malformed ends here, together with the tracestate that belongs
to it, and a new trace begins. Both functions run on every call.

Source: W3C Trace Context Level 1, "Traceparent Header" with "Versioning of traceparent", and
"Mutating the traceparent Field": proxies may propagate both fields unmodified.
"""

from __future__ import annotations

from binascii import hexlify
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TRACE_FIELDS = frozenset({b"traceparent", b"tracestate"})
"""Both belong together: they are passed together or replaced together."""
TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
REQUEST_ID_LENGTH = 128
"""Most bytes of a request id that is taken over from a proxy."""

_ID_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/=:-"
_HEX = b"0123456789abcdef"
_LENGTH = len(b"00-") + 2 * TRACE_ID_BYTES + len(b"-") + 2 * SPAN_ID_BYTES + len(b"-00")
_DASHES = (2, 35, 52)
_NO_TRACE = b"0" * (2 * TRACE_ID_BYTES)
_NO_SPAN = b"0" * (2 * SPAN_ID_BYTES)
_DASH = ord("-")


def request_id(headers: Iterable[tuple[bytes, bytes]], trusted: bool) -> bytes | None:  # noqa: FBT001 - the whole question
    """The id that a proxy in front gave this request; None: it needs one of ours.

    Args:
        headers: The request's, names in lower case.
        trusted: Whether the peer is a configured proxy. Anybody else could make two customers'
            calls look like one in the seller's logs.
    """
    if not trusted:
        return None
    found: bytes | None = None
    for name, value in headers:
        if name == b"x-request-id":
            if found is not None:
                return None
            found = value
    return found if found is not None and _is_request_id(found) else None


def carries_trace(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request belongs to a trace: then both fields pass as they came.

    If not, whoever forwards it drops every field that `TRACE_FIELDS` names, and begins a trace.
    """
    parents = [value for name, value in headers if name == b"traceparent"]
    return len(parents) == 1 and is_traceparent(parents[0])


def new_traceparent(random: bytes) -> bytes:
    """The field line of a trace that begins here.

    It is marked as sampled. Nothing is recorded here either way, and the mark asserts only that
    something *may* be. Unmarked, the usual parent-based sampler of an API behind us would record none
    of its calls, without a word; marked, it records all of them, which is seen and can be changed there.

    Args:
        random: 24 bytes, for the trace's id and that of its first span.
    """
    digits = hexlify(random)
    return b"traceparent: 00-%b-%b-01" % (digits[: 2 * TRACE_ID_BYTES], digits[2 * TRACE_ID_BYTES :])


def is_traceparent(value: bytes) -> bool:
    """Whether a field's value names a trace.

    A later version than 00 is read by its first four members and may have more after them;
    version 00 has nothing more, and version ff is none.
    """
    if len(value) < _LENGTH or not all(value[place] == _DASH for place in _DASHES):
        return False
    version, trace_id, span_id, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if (version + trace_id + span_id + flags).translate(None, _HEX) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return False
    if len(value) == _LENGTH:
        return version != b"ff"
    return version not in {b"00", b"ff"} and value[_LENGTH] == _DASH


def _is_request_id(value: bytes) -> bool:
    return 0 < len(value) <= REQUEST_ID_LENGTH and not value.translate(None, _ID_BYTES)
