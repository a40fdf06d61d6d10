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
        Paced                    429
        ChargeDenied             429
          RateLimited                 rate-limited
          QuotaExceeded               quota-exceeded
            OverageCapReached         overage-cap-reached
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
          StripeAccountWrong     503  billing-unavailable
        BillingRefused           502  billing-refused
          BillingKeyRefused      502  billing-refused
          BillingNotConfigured   501  billing-not-configured
          StripeCustomerMissing  502  billing-customer-missing
        LedgerUnavailable        503  ledger-unavailable

Each of the three kinds has a module. The HTTP side lives in one table, `gateway.web.problem_table`;
a test keeps it complete.
`code` values are documented in docs/errors.md and are never reused or renamed.
"""

from gateway.core.errors.denied import (
    AccountSuspended,
    AddressNotAllowed,
    ChargeDenied,
    CostAboveLimit,
    Denied,
    FeatureNotInTier,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    OriginNotAllowed,
    OverageCapReached,
    Paced,
    PaymentRequired,
    QuotaExceeded,
    RateLimited,
    ScopeMissing,
    SubscriptionRequired,
    TooManyConcurrent,
)
from gateway.core.errors.failed import (
    BillingKeyRefused,
    BillingNotConfigured,
    BillingRefused,
    BillingUnavailable,
    CapacityReduced,
    Failed,
    LedgerUnavailable,
    Overloaded,
    StripeAccountWrong,
    StripeCustomerMissing,
    UpstreamBusy,
    UpstreamInvalid,
    UpstreamTimeout,
    UpstreamUnreachable,
    WorkerFull,
)
from gateway.core.errors.rejected import (
    BodyIncomplete,
    BodyTooLarge,
    CostUnreadable,
    ExpectationFailed,
    HeadersTooLarge,
    IdempotencyKeyInvalid,
    InvalidKey,
    MalformedRequest,
    MethodRefused,
    Rejected,
    RequestTimeout,
    RouteNotFound,
    TargetRejected,
    TargetTooLong,
    UpgradeRefused,
    VersionNotSupported,
    WebSocketVersionRefused,
)
from gateway.core.errors.root import (
    TiergateError,
)

__all__ = [
    "AccountSuspended",
    "AddressNotAllowed",
    "BillingKeyRefused",
    "BillingNotConfigured",
    "BillingRefused",
    "BillingUnavailable",
    "BodyIncomplete",
    "BodyTooLarge",
    "CapacityReduced",
    "ChargeDenied",
    "CostAboveLimit",
    "CostUnreadable",
    "Denied",
    "ExpectationFailed",
    "Failed",
    "FeatureNotInTier",
    "HeadersTooLarge",
    "IdempotencyKeyInFlight",
    "IdempotencyKeyInvalid",
    "IdempotencyKeyReused",
    "InvalidKey",
    "LedgerUnavailable",
    "MalformedRequest",
    "MethodRefused",
    "OriginNotAllowed",
    "OverageCapReached",
    "Overloaded",
    "Paced",
    "PaymentRequired",
    "QuotaExceeded",
    "RateLimited",
    "Rejected",
    "RequestTimeout",
    "RouteNotFound",
    "ScopeMissing",
    "StripeAccountWrong",
    "StripeCustomerMissing",
    "SubscriptionRequired",
    "TargetRejected",
    "TargetTooLong",
    "TiergateError",
    "TooManyConcurrent",
    "UpgradeRefused",
    "UpstreamBusy",
    "UpstreamInvalid",
    "UpstreamTimeout",
    "UpstreamUnreachable",
    "VersionNotSupported",
    "WebSocketVersionRefused",
    "WorkerFull",
]
