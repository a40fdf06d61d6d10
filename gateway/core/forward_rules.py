"""What `core.upstream_policy` means for one request: pure rules, for the edge and for explanations."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from gateway.core.upstream_policy import NO_TIMEOUTS, ForwardTimeouts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.upstream_policy import ForwardOptions, HeaderEdit, Rewrite

_OF_THE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade http2-settings"
    b" proxy-authenticate proxy-authorization proxy-authentication-info content-length expect".split()
)
_CHANGES_THE_BODY = frozenset({b"content-encoding"})
_SAID_BY_US = frozenset({b"forwarded", b"x-real-ip", b"via", b"max-forwards", b"x-request-id", b"traceparent"})
_OURS_IN_RESPONSES = frozenset({b"ratelimit", b"ratelimit-policy", b"via"})
_SECRETS = frozenset({b"authorization", b"x-api-key", b"cookie", b"idempotency-key"})
_SAYS_SOMETHING_ELSE = frozenset(
    b"date vary via age etag set-cookie ratelimit ratelimit-policy tiergate-decision tiergate-warning".split()
)
_TOLD_TO_UPSTREAMS = (b"x-tiergate", b"tiergate-", b"x-forwarded-")
_TOLD_TO_CALLERS = (b"x-tiergate", b"tiergate-", b"x-ratelimit-")


def why_not_in_requests(name: bytes) -> str | None:
    """Why policy cannot change a request field, or None if it can.

    Args:
        name: Lower case. `_` is read as `-`, as CGI-style servers do.
    """
    dashed = name.replace(b"_", b"-")
    if dashed == b"host":
        return "Host is set with 'host' of the group in 'upstreams'"
    if dashed in _SAID_BY_US or dashed.startswith(_TOLD_TO_UPSTREAMS):
        return "the gateway itself says it to the upstream"
    return _why_nowhere(dashed)


def why_not_in_responses(name: bytes) -> str | None:
    """As `why_not_in_requests`, of a response field."""
    dashed = name.replace(b"_", b"-")
    if dashed.startswith(b"access-control-"):
        return "what other origins may do is said with 'cors'"
    if dashed in _OURS_IN_RESPONSES or dashed.startswith(_TOLD_TO_CALLERS):
        return "the gateway itself says it to the caller"
    return _why_nowhere(dashed)


def why_no_price(name: bytes) -> str | None:
    """Why a request field cannot tell what a call costs, or None if it can.

    Args:
        name: Lower case.
    """
    if name in _SECRETS:
        return "it holds a secret"
    return _why_nowhere(name.replace(b"_", b"-"))


def why_no_cost(name: bytes) -> str | None:
    """Why a response field cannot tell what a call costs, or None if it can.

    Args:
        name: Lower case.
    """
    if name in _SAYS_SOMETHING_ELSE:
        return "it says something else"
    return _why_nowhere(name.replace(b"_", b"-"))


def _why_nowhere(dashed: bytes) -> str | None:
    if dashed in _OF_THE_CONNECTION:
        return "it belongs to one connection, or frames the message"
    if dashed in _CHANGES_THE_BODY:
        return "it says how to read a body that passes unchanged"
    return None


def edit_lines(lines: list[bytes], edits: Iterable[HeaderEdit]) -> list[bytes]:
    """The field lines with every edit made, in order.

    What the edits do not name keeps its bytes, its place and its repetitions.
    """
    for edit in edits:
        if edit.action != "add":
            lines = [line for line in lines if line.partition(b":")[0].lower() != edit.name]
        if edit.action != "remove":
            lines = [*lines, b"%b: %b" % (edit.name, edit.value)]
    return lines


def rewrite_path(rewrite: Rewrite | None, raw_path: bytes) -> bytes:
    """The path to send to the upstream, behind its own prefix.

    Segments are dropped by their number, as the caller may have spelled them in another way than policy.

    Args:
        rewrite: Of the route that matched, so that the path starts with what is stripped.
        raw_path: As it came, without the query.
    """
    if rewrite is None:
        return raw_path
    dropped = rewrite.strip.count("/")
    parts = raw_path.split(b"/", dropped + 1)
    rest = b"/" + parts[dropped + 1] if len(parts) > dropped + 1 else b""
    return rewrite.prefix.encode("ascii") + rest or b"/"


@lru_cache(maxsize=1024)
def merge_timeouts(*said: ForwardTimeouts) -> ForwardTimeouts:
    """Each time-out as the first that says something has it; first the most specific."""
    return ForwardTimeouts(
        connect_s=_first(one.connect_s for one in said),
        first_byte_s=_first(one.first_byte_s for one in said),
        idle_s=_first(one.idle_s for one in said),
        total_s=_first(one.total_s for one in said),
        read_on_s=_first(one.read_on_s for one in said),
    )


def effective_timeouts(
    route: ForwardOptions | None, tier: ForwardOptions | None, defaults: ForwardTimeouts
) -> ForwardTimeouts:
    """What holds for a request: the route's word, else its tier's, else the settings'.

    Requests without a word of their own get `defaults` itself, so that it can be told by identity.
    """
    by_route = NO_TIMEOUTS if route is None else route.timeouts
    by_tier = NO_TIMEOUTS if tier is None else tier.timeouts
    if by_route is NO_TIMEOUTS and by_tier is NO_TIMEOUTS:
        return defaults
    return merge_timeouts(by_route, by_tier, defaults)


def effective_max_body(route: ForwardOptions | None, tier: ForwardOptions | None, default: int) -> int:
    """Most bytes of request body: the route's word, else its tier's, else the settings'."""
    for options in (route, tier):
        if options is not None and options.max_body_bytes is not None:
            return options.max_body_bytes
    return default


def host_name(host: str) -> str:
    """The name in a Host field as groups list it: lower case, without port and trailing dot. Brackets stay."""
    name = host.lower()
    if name[:1] == "[":
        return name.partition("]")[0] + "]"
    return name.partition(":")[0].removesuffix(".")


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
