"""How admitted requests are forwarded, as policy says it: where to, how long, with which fields.

Values only; `gateway.policyfiles` builds them from YAML and `gateway.upstream` and the edge act on them.
A route's word wins over its tier's, a tier's over the process settings. None always means: not said here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

DEFAULT_GROUP = "default"
"""The group of upstreams that a route without `upstream:` goes to."""

Balance: TypeAlias = Literal["round-robin", "least-loaded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server of a group."""

    url: str
    """`http://host[:port][/prefix]` or `https://...`."""
    weight: int = 1
    """Its share of requests beside the others', >= 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ejection:
    """Passive health: a server that fails is left alone for a while, unless all are."""

    failures: int = 3
    """In a row, >= 1: no connection, no response, or an invalid one. A 5xx is an answer and counts not."""
    for_s: float = 10.0
    """How long it is left alone; then one request tries it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveCheck:
    """Active health: a GET that every server has to answer with 2xx or 3xx."""

    path: str
    """Path and query, as sent."""
    every_s: float = 10.0
    timeout_s: float = 2.0
    healthy_after: int = 2
    """Good answers in a row that bring a server back."""
    unhealthy_after: int = 2
    """Bad ones in a row that take it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTls:
    """How https servers of a group are verified, and how we show who we are.

    Paths are absolute. They take no part in the policy's hash, which is the same wherever the
    files lie; what the files hold does.
    """

    ca_file: str | None = field(default=None, hash=False)
    certificate_file: str | None = field(default=None, hash=False)
    key_file: str | None = field(default=None, hash=False)
    digest: str = ""
    """Of the content of all three, so that a renewed certificate makes another policy."""
    server_name: str | None = None
    """Name in SNI and in the certificate, where it is not the URL's host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamGroup:
    """Servers that answer alike."""

    name: str
    servers: tuple[Server, ...]
    balance: Balance = "round-robin"
    ejection: Ejection | None = field(default_factory=Ejection)
    """None: never."""
    check: ActiveCheck | None = None
    host: str | None = None
    """Host field to send: a value, or `preserve` for the caller's. None: the server's own."""
    hosts: tuple[str, ...] = ()
    """Requests for these hosts (lower case, without port) come here unless their route names a group."""
    tls: UpstreamTls | None = None
    max_age_s: float | None = None
    """A connection is not used again after this long, so that a changed DNS entry is followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardTimeouts:
    """Seconds, as in `gateway.upstream.UpstreamTimeouts`. `total_s` and `read_on_s` 0: none, said on purpose."""

    connect_s: float | None = None
    first_byte_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None
    read_on_s: float | None = None


NO_TIMEOUTS = ForwardTimeouts()


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEdit:
    """One change to a message's fields: `set` replaces all of that name, `add` appends, `remove` drops all."""

    action: Literal["set", "add", "remove"]
    name: bytes
    """Lower case; never a field that frames the message, names the hop, or is ours (`core.forward_rules`)."""
    value: bytes = field(default=b"", repr=False)
    """May be a secret of the seller's, as in Authorization: never shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What of the path changes on its way: the prefix `strip` goes, `prefix` comes before the rest.

    Both start with `/`, end with none, and are spelled canonically; empty stands for nothing. The
    rest of the path, and the query, pass byte for byte. Every path that the route matches starts
    with `strip`.
    """

    strip: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """What browsers of other origins may do."""

    origins: tuple[str, ...]
    """`https://app.example.com`, or `*` alone for any."""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
    headers: tuple[str, ...] = ("authorization", "content-type", "x-api-key")
    """Request fields, lower case; `*` alone allows what is asked for."""
    expose: tuple[str, ...] = ("ratelimit", "ratelimit-policy", "retry-after", "tiergate-decision")
    max_age_s: int = 600
    credentials: bool = False
    """Never together with origin `*`."""


LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024
"""No policy lets a message of a WebSocket be larger: one is held whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketPolicy:
    """What a route's WebSockets may do and cost, beyond the handshake, which costs as any request."""

    cost_per_message: tuple[tuple[str, int], ...] = ()
    """(meter, units) for each message from the caller."""
    cost_per_minute: tuple[tuple[str, int], ...] = ()
    """(meter, units) for each minute begun after the first."""
    max_message_bytes: int = 1_048_576


FREE_WEBSOCKETS = WebSocketPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOptions:
    """What a route, or a tier, says about forwarding."""

    group: str | None = None
    timeouts: ForwardTimeouts = NO_TIMEOUTS
    max_body_bytes: int | None = None
    rewrite: Rewrite | None = None
    request_headers: tuple[HeaderEdit, ...] = ()
    response_headers: tuple[HeaderEdit, ...] = ()
    cors: Cors | None = None
    """None: the policy's own. `NO_CORS`: none here."""
    encoded_slashes: bool = False
    """The route takes `%2F` in its path and matches it as those three bytes."""
    websocket: WebSocketPolicy | None = FREE_WEBSOCKETS
    """None: WebSockets are refused on this route. Of a route only."""


NO_CORS = Cors(origins=())
NO_OPTIONS = ForwardOptions()
