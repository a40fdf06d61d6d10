"""Everything that can go wrong on a request, as facts with stable codes.

    TiergateError
      Rejected                   we cannot identify the caller or parse the request
        InvalidKey               401  invalid-api-key
        TargetRejected           400  ambiguous-target
        TargetTooLong            414  target-too-long
        MalformedRequest         400  malformed-request
        RouteNotFound            404  route-not-found
        BodyTooLarge             413  body-too-large
        CostUnreadable           400  cost-unreadable
        BodyIncomplete           400  body-incomplete
        MethodRefused            501  method-not-supported
        VersionNotSupported      505  http-version-not-supported
        HeadersTooLarge          431  headers-too-large
        RequestTimeout           408  request-timeout
        ExpectationFailed        417  expectation-failed
        IdempotencyKeyInvalid    400  idempotency-key-invalid
        UpgradeRefused           501  upgrade-not-supported
        WebSocketVersionRefused  426  websocket-version-not-supported
      Denied                     we know the caller, and policy says no
        FeatureNotInTier         403  feature-not-in-tier
        ScopeMissing             403  scope-missing
        AddressNotAllowed        403  address-not-allowed
        OriginNotAllowed         403  origin-not-allowed
        CostAboveLimit           403  cost-above-limit
        AccountSuspended         403  account-suspended
        SubscriptionRequired     402  subscription-required
        PaymentRequired          402  payment-required
        IdempotencyKeyReused     422  idempotency-key-reused
        IdempotencyKeyInFlight   409  idempotency-key-in-flight
        ChargeDenied             429
          RateLimited                 rate-limited
          QuotaExceeded               quota-exceeded
          TooManyConcurrent           too-many-concurrent
      Failed                     we or somebody behind us broke
        CapacityReduced          503  temporary-reduced-capacity
        UpstreamUnreachable      502  upstream-unreachable
        UpstreamBusy             503  upstream-busy
        WorkerFull               503  too-many-connections
        Overloaded               503  overloaded
        UpstreamInvalid          502  upstream-invalid-response
        UpstreamTimeout          504  upstream-timeout
        BillingUnavailable       503  billing-unavailable
        BillingRefused           502  billing-refused
        LedgerUnavailable        503  ledger-unavailable

The HTTP side lives in one table, `gateway.web.problems`; a test keeps it complete.
`code` values are documented in docs/errors.md and are never reused or renamed.
"""

from __future__ import annotations

from typing import ClassVar


class TiergateError(Exception):
    """Root of everything this program raises on purpose.

    `str(error)` is one sentence for the caller: it holds no secret and no machine detail.
    """

    code: ClassVar[str]


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


class Denied(TiergateError):
    """The caller is known, and policy says no."""


class FeatureNotInTier(Denied):
    """The route needs a feature that the caller's tier does not have."""

    code = "feature-not-in-tier"

    def __init__(self, feature: str, tier: str, offered_by: tuple[str, ...]) -> None:
        tiers = ", ".join(offered_by) or "no tier on sale"
        super().__init__(f"This call needs {feature!r}, which is in: {tiers}. Your tier is {tier!r}.")
        self.feature = feature
        self.tier = tier
        self.offered_by = offered_by


class ScopeMissing(Denied):
    """The key was issued for fewer methods or paths than this call needs."""

    code = "scope-missing"


class AddressNotAllowed(Denied):
    """The key may not be used from where the call came from.

    From where it may is told to nobody on this way: whoever calls may have stolen it.

    Args:
        address: The client's as we see it, or None if nobody says.
    """

    code = "address-not-allowed"

    def __init__(self, address: str | None) -> None:
        seen = "an address that is not known here" if address is None else f"the address {address}"
        super().__init__(f"This call came from {seen}, and the key is not to be used from there.")
        self.address = address


class OriginNotAllowed(Denied):
    """A page of another site opens a WebSocket, and policy does not name that site."""

    code = "origin-not-allowed"


class CostAboveLimit(Denied):
    """A limit of the key's own could not hold this call's cost even when unused. Waiting and upgrading do not help."""

    code = "cost-above-limit"


class AccountSuspended(Denied):
    """The seller has blocked this customer."""

    code = "account-suspended"


class SubscriptionRequired(Denied):
    """There is no subscription that grants a tier, and policy has no default tier."""

    code = "subscription-required"


class PaymentRequired(Denied):
    """There is a subscription, and money is owed on it."""

    code = "payment-required"


class IdempotencyKeyReused(Denied):
    """The Idempotency-Key belongs to another call of this customer."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another call: method, path, query or length differ.")


class IdempotencyKeyInFlight(Denied):
    """The first call under the Idempotency-Key has not ended.

    Args:
        wait_s: Whole seconds after which it is taken for lost at the latest.
    """

    code = "idempotency-key-in-flight"

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"The first call with this Idempotency-Key is in progress, or was lost within {wait_s} s.")


class ChargeDenied(Denied):
    """At least one limit cannot cover this request's cost. Nothing was spent.

    Args:
        message: What is exhausted, in words.
        retry_after_s: Whole seconds, rounded up, until every limit would allow the same
            request if nobody else spends in between. At least 1.
        violated: Names of the limits that said no, as in the RateLimit fields. None: no limit of policy did.
        of_key: The one in the message is the key's own; an upgrade would not move it.
    """

    def __init__(self, message: str, *, retry_after_s: int, violated: tuple[str, ...], of_key: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.violated = violated
        self.of_key = of_key


class RateLimited(ChargeDenied):
    """A pace was exceeded; waiting helps."""

    code = "rate-limited"


class QuotaExceeded(ChargeDenied):
    """A window's quota cannot cover this request; waiting for the window's end helps, and so may upgrading."""

    code = "quota-exceeded"


class TooManyConcurrent(ChargeDenied):
    """As many calls are in progress as may be at once: over all workers by policy, or in this one by its settings."""

    code = "too-many-concurrent"


class Failed(TiergateError):
    """We, or somebody behind us, broke."""


class CapacityReduced(Failed):
    """The limits cannot be checked right now, or this process ends: the request was not let through, or cut off."""

    code = "temporary-reduced-capacity"


class UpstreamUnreachable(Failed):
    """No connection to the API behind us, or it broke before any response."""

    code = "upstream-unreachable"


class UpstreamBusy(Failed):
    """Every connection that we may open to the API behind us is in use. It was not asked."""

    code = "upstream-busy"


class WorkerFull(Failed):
    """This process has as many connections as it may have."""

    code = "too-many-connections"


class Overloaded(Failed):
    """This process has as much in progress as it should have; the lowest tiers are told first."""

    code = "overloaded"


class UpstreamInvalid(Failed):
    """The API behind us answered something that is not one well-formed HTTP response."""

    code = "upstream-invalid-response"


class UpstreamTimeout(Failed):
    """The API behind us did not answer in time."""

    code = "upstream-timeout"


class BillingUnavailable(Failed):
    """Stripe did not answer, or asked us to slow down. Trying again later helps."""

    code = "billing-unavailable"


class BillingRefused(Failed):
    """Stripe understood the request and refused it; the seller's configuration needs a look."""

    code = "billing-refused"


class LedgerUnavailable(Failed):
    """The ledger did not answer, so what was asked could not be recorded."""

    code = "ledger-unavailable"
