"""We cannot identify the caller, or parse the request."""

from __future__ import annotations

from gateway.core.errors.root import TiergateError


class Rejected(TiergateError):
    """The request cannot be understood or its sender cannot be identified."""


class InvalidKey(Rejected):
    """No key, or one that is malformed, unknown, revoked or expired: the caller is not told which."""

    code = "invalid-api-key"

    def __init__(self) -> None:
        super().__init__("This call needs a live API key, and none came with it.")


class TargetRejected(Rejected):
    """The request target has more than one reading."""

    code = "ambiguous-target"


class TargetTooLong(Rejected):
    """Path and query together are longer than the gateway reads."""

    code = "target-too-long"


class MalformedRequest(Rejected):
    """Framing, Host or a header breaks the rules that keep two parsers agreed."""

    code = "malformed-request"


class MethodRefused(Rejected):
    """A method that a gateway must not forward (TRACE, CONNECT) or cannot name."""

    code = "method-not-supported"


class VersionNotSupported(Rejected):
    """A version of HTTP that is not spoken on this connection."""

    code = "http-version-not-supported"


class HeadersTooLarge(Rejected):
    """More header fields, or longer ones, than are read."""

    code = "headers-too-large"


class RequestTimeout(Rejected):
    """The request did not arrive in the time that a request may take, or stopped arriving."""

    code = "request-timeout"


class ExpectationFailed(Rejected):
    """An Expect field that asks for something other than `100-continue`."""

    code = "expectation-failed"


class IdempotencyKeyInvalid(Rejected):
    """An Idempotency-Key that is empty, too long, misspelled, sent twice, or kept from the API by Connection."""

    code = "idempotency-key-invalid"


class UpgradeRefused(Rejected):
    """A switch to the WebSocket protocol, where none is to be had."""

    code = "upgrade-not-supported"


class WebSocketVersionRefused(Rejected):
    """Another version of the WebSocket protocol than the one that is spoken."""

    code = "websocket-version-not-supported"


class RouteNotFound(Rejected):
    """No policy line matches this method and path. Unlisted is refused, never free."""

    code = "route-not-found"


class BodyTooLarge(Rejected):
    """The request body is larger than the cap."""

    code = "body-too-large"


class CostUnreadable(Rejected):
    """The call does not say what it costs, or not so that it can be read in one way. Nothing was charged."""

    code = "cost-unreadable"


class BodyIncomplete(Rejected):
    """The request body stalled, or was longer or shorter than announced."""

    code = "body-incomplete"
