"""Where an admitted call goes and what is changed on its way, in words: for `policy explain` and `policy show`.

What policy does not say is in the settings, which are not read here. Values of header fields are not shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.forward_rules import merge_timeouts, rewrite_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.policy import Policy, Tier
    from gateway.core.route import Route
    from gateway.core.upstream_policy import (
        ActiveCheck,
        Cors,
        HeaderEdit,
        UpstreamGroup,
        WebSocketPolicy,
    )

BY_SETTINGS = "as in the settings"
_UNITS = ((10**9, "GB"), (2**30, "GiB"), (10**6, "MB"), (2**20, "MiB"), (10**3, "KB"), (2**10, "KiB"))


def forwarding_lines(policy: Policy, route: Route, tier: Tier, raw_path: bytes, host: str) -> Iterator[tuple[str, str]]:
    """What happens to a call that is let through: a word and a sentence for each part.

    Args:
        policy: It was decided under.
        route: That matched `raw_path`.
        tier: Of the caller.
        raw_path: As sent, without the query.
        host: Of the Host field; may be empty.
    """
    group = policy.group_for(route, host)
    yield "upstream", _destination(group)
    yield "path", rewrite_path(route.forward.rewrite, raw_path).decode("ascii", "replace")
    if group is not None and group.host is not None:
        yield "host", "the caller's" if group.host == "preserve" else group.host
    yield "timeouts", _timeouts(route, tier)
    sizes = (route.forward.max_body_bytes, tier.forward.max_body_bytes)
    size = next((size for size in sizes if size is not None), None)
    yield "max body", BY_SETTINGS if size is None else size_words(size)
    if route.forward.request_headers:
        yield "request", _edits(route.forward.request_headers)
    if route.forward.response_headers:
        yield "response", _edits(route.forward.response_headers)
    yield "cors", _cors(policy.cors_for(route))
    if route.methods is None or "GET" in route.methods:
        yield "websocket", _websocket(route.forward.websocket)
    if route.forward.encoded_slashes:
        yield "slashes", "%2F in the path is part of a segment, and passes"


def group_words(group: UpstreamGroup) -> str:
    """One line about a group of servers."""
    servers = ", ".join(
        server.url if server.weight == 1 else f"{server.url} weight {server.weight}" for server in group.servers
    )
    parts = [servers]
    if len(group.servers) > 1:
        parts.append(group.balance)
        ejection = group.ejection
        parts.append(
            "never ejected" if ejection is None else f"eject {ejection.failures} failures for {_time(ejection.for_s)}"
        )
    if group.check is not None:
        parts.append(_check(group.check))
    if group.hosts:
        parts.append(f"for {', '.join(group.hosts)}")
    return "; ".join(parts)


def size_words(size: int) -> str:
    """Bytes as policy would write them: `20MB`."""
    for unit, name in _UNITS:
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return f"{size:_} bytes"


def _destination(group: UpstreamGroup | None) -> str:
    if group is None:
        return "TIERGATE_UPSTREAM_URL, as no group is called 'default'"
    return f"group {group.name!r}: {group_words(group)}"


def _check(check: ActiveCheck) -> str:
    return f"check GET {check.path} every {_time(check.every_s)}"


def _timeouts(route: Route, tier: Tier) -> str:
    said = merge_timeouts(route.forward.timeouts, tier.forward.timeouts)
    named = {
        "connect": said.connect_s,
        "first byte": said.first_byte_s,
        "idle": said.idle_s,
        "total": said.total_s,
        "read on": said.read_on_s,
    }
    words = [f"{name} {_time(time) if time else 'none'}" for name, time in named.items() if time is not None]
    return f"{', '.join(words)}; others {BY_SETTINGS}" if words else BY_SETTINGS


def _edits(edits: tuple[HeaderEdit, ...]) -> str:
    return ", ".join(f"{edit.action} {edit.name.decode('ascii')}" for edit in edits)


def _cors(cors: Cors | None) -> str:
    if cors is None:
        return "none: pages of other origins cannot call this"
    credentials = ", with credentials" if cors.credentials else ""
    origins = "any origin" if cors.origins == ("*",) else ", ".join(cors.origins)
    return f"{origins}{credentials}; methods {', '.join(cors.methods)}; headers {', '.join(cors.headers)}"


def _websocket(socket: WebSocketPolicy | None) -> str:
    if socket is None:
        return "refused"
    costs = [
        f"{', '.join(f'{units:_} {meter}' for meter, units in cost)} a {what}"
        for what, cost in (("message", socket.cost_per_message), ("minute", socket.cost_per_minute))
        if cost
    ]
    return f"{', '.join(costs) or 'costs the handshake only'}; messages up to {size_words(socket.max_message_bytes)}"


def _time(seconds: float) -> str:
    for length_s, unit in ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds % length_s == 0:
            return f"{seconds / length_s:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"
