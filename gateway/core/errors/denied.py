"""We know the caller, and policy says no."""

from __future__ import annotations

from gateway.core.errors.root import TiergateError


class Denied(TiergateError):
    """The caller is known, and policy says no."""


class Paced(Denied):
    """Asked too often; nothing was done.

    Args:
        message: One sentence.
        retry_after_s: Whole seconds until the next is allowed.
    """

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


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
    """A limit could not hold this call's cost even when unused, with what is left of the credits behind it.

    Waiting does not help.
    """

    code = "cost-above-limit"


class AccountSuspended(Denied):
    """The seller has blocked this customer."""

    code = "account-suspended"


class SubscriptionRequired(Denied):
    """There is no subscription that grants a tier, and policy has no default tier."""

    code = "subscription-required"


class PaymentRequired(Denied):
    """There is a subscription, and money is owed on it.

    Args:
        message: One sentence.
        payment_url: Where it can be paid; None: it is not known here.
        is_unconfirmed: The payment waits for the customer to confirm it with the bank.
    """

    code = "payment-required"

    def __init__(self, message: str, *, payment_url: str | None = None, is_unconfirmed: bool = False) -> None:
        super().__init__(message)
        self.payment_url = payment_url
        self.is_unconfirmed = is_unconfirmed


class IdempotencyKeyReused(Denied):
    """The Idempotency-Key belongs to another call of this customer."""

    code = "idempotency-key-reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another call: method, path, query or length differ.")


class IdempotencyKeyInFlight(Denied):
    """The first call under the Idempotency-Key has not ended.

    Args:
        wait_s: Whole seconds after which it is taken for lost, unless it is heard of again.
    """

    code = "idempotency-key-in-flight"

    def __init__(self, wait_s: int) -> None:
        super().__init__(
            f"The first call with this Idempotency-Key is in progress; if it was lost, repeats pass in {wait_s} s."
        )


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


class OverageCapReached(QuotaExceeded):
    """What is included is used up, and so is the overage that a cap allows: the customer's own, or the plan's."""

    code = "overage-cap-reached"


class TooManyConcurrent(ChargeDenied):
    """As many calls are in progress as may be at once: over all workers by policy, or in this one by its settings."""

    code = "too-many-concurrent"
