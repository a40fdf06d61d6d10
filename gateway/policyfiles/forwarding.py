"""What a route, or a tier's `upstream:`, says about forwarding: where to, how long, what is changed on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.errors import TargetRejected
from gateway.core.forward_rules import why_not_in_requests, why_not_in_responses
from gateway.core.target import canonical_path
from gateway.core.upstream_policy import (
    FREE_WEBSOCKETS,
    NO_TIMEOUTS,
    ForwardOptions,
    ForwardTimeouts,
    Rewrite,
    WebSocketPolicy,
)
from gateway.policyfiles.cors import read_cors
from gateway.policyfiles.costs import read_cost
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.header_edits import read_header_edits
from gateway.policyfiles.quantities import read_duration_s, read_flag, read_size
from gateway.policyfiles.shapes import as_fields, as_text, shown

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping as Lookup

    from gateway.core.pattern import Pattern
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place

FORWARD_KEYS = (
    "upstream",
    "timeout",
    "max_body",
    "rewrite",
    "request_headers",
    "response_headers",
    "cors",
    "encoded_slashes",
    "websocket",
)
"""Keys of a route that are read here."""

_TIER_KEYS = ("timeout", "max_body")
_TIER_NEVER = dict.fromkeys(
    (key for key in FORWARD_KEYS if key not in _TIER_KEYS), "that is said by a route, for every tier alike"
)
_LARGEST_BODY = "1_000GB"
_LONGEST = {"connect": "2m", "first_byte": "1h", "idle": "1h", "total": "1d", "read_on": "1h"}
_MAY_BE_NONE = frozenset({"total", "read_on"})
_LARGEST_MESSAGE = "64MiB"
_LONGEST_PREFIX = 1_000
_SOCKET_KEYS = ("cost_per_message", "cost_per_minute", "max_message")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardingDraft:
    """What a route says about forwarding, as written."""

    options: ForwardOptions
    group: Text | None
    """The name in `options.group`, which has to be in `upstreams`."""
    socket_place: Place | None
    """Where costs of the route's WebSockets are said."""


def read_forwarding(
    fields: Lookup[str, Node], pattern: Pattern, meters: Collection[str], faults: FaultLog
) -> ForwardingDraft:
    """The keys of one route that are in `FORWARD_KEYS`."""
    group = as_text(fields["upstream"], "'upstream'", faults) if "upstream" in fields else None
    socket = fields.get("websocket")
    flag = read_flag(fields["encoded_slashes"], "'encoded_slashes'", faults) if "encoded_slashes" in fields else None
    request, response = fields.get("request_headers"), fields.get("response_headers")
    options = ForwardOptions(
        group=None if group is None else group.value,
        timeouts=_read_timeouts(fields, faults),
        max_body_bytes=_read_max_body(fields, faults),
        rewrite=_read_rewrite(fields["rewrite"], pattern, faults) if "rewrite" in fields else None,
        request_headers=()
        if request is None
        else read_header_edits(request, "request_headers", why_not_in_requests, faults),
        response_headers=()
        if response is None
        else read_header_edits(response, "response_headers", why_not_in_responses, faults),
        cors=read_cors(fields["cors"], faults) if "cors" in fields else None,
        encoded_slashes=bool(flag),
        websocket=FREE_WEBSOCKETS if socket is None else _read_websocket(socket, pattern, meters, faults),
    )
    return ForwardingDraft(options=options, group=group, socket_place=None if socket is None else socket.place)


def read_tier_forwarding(node: Node, what: str, faults: FaultLog) -> ForwardOptions:
    """`upstream:` of a tier."""
    fields = as_fields(node, f"'upstream' of {what}", faults, known=_TIER_KEYS, never=_TIER_NEVER)
    return ForwardOptions(timeouts=_read_timeouts(fields, faults), max_body_bytes=_read_max_body(fields, faults))


def _read_timeouts(fields: Lookup[str, Node], faults: FaultLog) -> ForwardTimeouts:
    """A duration is how long the response may take to begin; a mapping says each."""
    node = fields.get("timeout")
    if node is None:
        return NO_TIMEOUTS
    if isinstance(node, Text):
        return ForwardTimeouts(first_byte_s=_read_time(node, "first_byte", "'timeout'", faults))
    parts = as_fields(node, "'timeout'", faults, known=tuple(_LONGEST))
    times = {f"{name}_s": _read_time(part, name, f"{name!r} in 'timeout'", faults) for name, part in parts.items()}
    return ForwardTimeouts(**times)


def _read_time(node: Node, name: str, what: str, faults: FaultLog) -> float | None:
    if name in _MAY_BE_NONE and isinstance(node, Text) and node.value == "none":
        return 0.0
    return read_duration_s(node, what, faults, least="10ms", most=_LONGEST[name])


def _read_max_body(fields: Lookup[str, Node], faults: FaultLog) -> int | None:
    if "max_body" not in fields:
        return None
    return read_size(fields["max_body"], "'max_body'", faults, least="0", most=_LARGEST_BODY)


def _read_rewrite(node: Node, pattern: Pattern, faults: FaultLog) -> Rewrite | None:
    text = as_text(node, "'rewrite'", faults)
    if text is None:
        return None
    words = text.value.split()
    named = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or list(named) not in (["strip"], ["prefix"], ["strip", "prefix"]):
        message = f"'rewrite' is 'strip /v1', 'prefix /api' or 'strip /v1 prefix /api', not {shown(text.value)}"
        faults.add(text.place, message)
        return None
    paths = {word: _read_prefix(word, path, text, faults) for word, path in named.items()}
    if None in paths.values():
        return None
    strip = paths.get("strip") or ""
    segments = tuple(strip.split("/")[1:])
    if pattern.segments[: len(segments)] != segments:
        faults.add(
            text.place,
            f"{pattern.text!r} also matches paths that do not start with {strip!r}, so that cannot be stripped:"
            f" let the pattern start with {strip!r}",
        )
        return None
    return Rewrite(strip=strip, prefix=paths.get("prefix") or "")


def _read_prefix(word: str, path: str, text: Text, faults: FaultLog) -> str | None:
    """A path that can stand before others, in its canonical spelling."""
    reason = "write it with a '/' at its start"
    if path == "/":
        reason = "'/' alone changes nothing"
    elif path.startswith("/"):
        reason = "leave out the '/' at its end"
        if not path.endswith("/"):
            try:
                canonical = canonical_path(path.encode())
            except TargetRejected as rejected:
                reason = str(rejected)
            else:
                reason = f"it is longer than {_LONGEST_PREFIX:_} characters"
                if len(canonical) <= _LONGEST_PREFIX:
                    return canonical
    right = path.rstrip("/") if path.startswith("/") and path.rstrip("/") and path.endswith("/") else None
    faults.add(text.place, f"{word} {shown(path)} in 'rewrite' is not the start of a path: {reason}", suggestion=right)
    return None


def _read_websocket(node: Node, pattern: Pattern, meters: Collection[str], faults: FaultLog) -> WebSocketPolicy | None:
    """`refuse`, `allowed`, or a mapping that says what they cost."""
    if isinstance(node, Text) and not node.is_empty:
        if node.value == "refuse":
            return None
        if node.value != "allowed":
            message = f"'websocket' is 'refuse', 'allowed' or a mapping of {', '.join(_SOCKET_KEYS)}, not"
            faults.add_unknown(node.place, f"{message} {shown(node.value)}", node.value, ("refuse", "allowed"))
    if pattern.methods is not None and "GET" not in pattern.methods:
        message = f"{pattern.text!r} has no GET, with which every WebSocket begins: none could be opened here"
        faults.add(node.place, message)
    if not isinstance(node, Mapping):
        return FREE_WEBSOCKETS
    fields = as_fields(node, "'websocket'", faults, known=_SOCKET_KEYS)
    costs = {
        key: tuple(
            (meter, units) for meter, units in read_cost(fields[key], f"{key!r}", meters, faults).items() if units
        )
        for key in ("cost_per_message", "cost_per_minute")
        if key in fields
    }
    size = (
        read_size(fields["max_message"], "'max_message'", faults, least="1", most=_LARGEST_MESSAGE)
        if "max_message" in fields
        else None
    )
    return WebSocketPolicy(
        cost_per_message=costs.get("cost_per_message", ()),
        cost_per_minute=costs.get("cost_per_minute", ()),
        max_message_bytes=FREE_WEBSOCKETS.max_message_bytes if size is None else size,
    )
