"""Connections to the proxied API: a pooled, streaming HTTP/1.1 client that speaks ASGI on its other side.

The only package that opens connections to the API behind the gateway. `Upstream.forward` relays
one request and its response, `forward_to_any` by whichever of several upstreams can be reached.
`response_head` and `response_body` read what comes back, `connection` and `pool` decide what may
be used again, `exchange` and `upload` move the bytes.
"""

from gateway.core.errors import BodyTooLarge
from gateway.core.request_gate import CHUNKED
from gateway.upstream.errors import ClientFaulty, ClientLeft, ExchangeBroken
from gateway.upstream.exchange import ExchangeRequest, Outcome, UpstreamTimeouts
from gateway.upstream.upload import RequestBody
from gateway.upstream.upstream import Upstream, UpstreamStats, forward_to_any

__all__ = [
    "CHUNKED",
    "BodyTooLarge",
    "ClientFaulty",
    "ClientLeft",
    "ExchangeBroken",
    "ExchangeRequest",
    "Outcome",
    "RequestBody",
    "Upstream",
    "UpstreamStats",
    "UpstreamTimeouts",
    "forward_to_any",
]
