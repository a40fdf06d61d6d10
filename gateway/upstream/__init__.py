"""Connections to the proxied API: a pooled, streaming HTTP/1.1 client that speaks to a caller on its other side.

The only package that opens connections to the API behind the gateway. `Exchange` relays one
request and its response by the first of several upstreams that can be reached. `response_head`
reads what comes back, `connection` and `pool` decide what may be used again, `exchange` moves
the bytes; `group` and `groups` know which of several servers to ask, `checking` asks how they are,
`dialing` and `tls` open connections, and `asgi_caller` is the caller's side where there is nothing faster than ASGI.
"""

from gateway.upstream.asgi_caller import AsgiCaller
from gateway.upstream.body_size import BodySize
from gateway.upstream.checking import HealthChecker
from gateway.upstream.errors import ClientFaulty, ClientLeft, ExchangeBroken, ExchangeCancelled
from gateway.upstream.exchange import Exchange
from gateway.upstream.group import Group, GroupOptions, verdict
from gateway.upstream.groups import Groups
from gateway.upstream.parties import Caller, Listener
from gateway.upstream.response_head import OnStart, ResponseHead
from gateway.upstream.upstream import Upstream, UpstreamStats
from gateway.upstream.values import READ_ON_S, ExchangeRequest, Outcome, UpstreamTimeouts

__all__ = [
    "READ_ON_S",
    "AsgiCaller",
    "BodySize",
    "Caller",
    "ClientFaulty",
    "ClientLeft",
    "Exchange",
    "ExchangeBroken",
    "ExchangeCancelled",
    "ExchangeRequest",
    "Group",
    "GroupOptions",
    "Groups",
    "HealthChecker",
    "Listener",
    "OnStart",
    "Outcome",
    "ResponseHead",
    "Upstream",
    "UpstreamStats",
    "UpstreamTimeouts",
    "verdict",
]
