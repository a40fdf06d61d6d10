"""We, or somebody behind us, broke."""

from __future__ import annotations

from gateway.core.errors.root import TiergateError


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


class StripeAccountWrong(BillingUnavailable):
    """The Stripe key is not, or not provably, of the account that the ledger belongs to. Callers read an outage."""

    def __init__(self, what: str) -> None:
        super().__init__("Payments are not available at the moment; the provider of this API has to look at it.")
        self.what = what
        """For the operator."""


class BillingRefused(Failed):
    """Stripe understood the request and refused it; the seller's configuration needs a look."""

    code = "billing-refused"


class BillingNotConfigured(BillingRefused):
    """There is no Stripe here, by the seller's choice: nothing is sold, and tiers are granted by hand."""

    code = "billing-not-configured"

    def __init__(self) -> None:
        super().__init__("Nothing is sold through this gateway: it was set up without a payment provider.")


class StripeCustomerMissing(BillingRefused):
    """Stripe never had this customer, and the key is of the ledger's account: it was wiped, or imported wrongly."""

    code = "billing-customer-missing"

    def __init__(self, stripe_customer_id: str) -> None:
        super().__init__("The payment provider does not have this customer.")
        self.stripe_customer_id = stripe_customer_id
        """For the operator."""


class BillingKeyRefused(BillingRefused):
    """Stripe does not accept the key for that. Nothing is wrong with what was asked, so it waits for another key."""

    def __init__(self, *, is_whole: bool) -> None:
        super().__init__("The payment provider does not accept this gateway's credentials for that.")
        self.is_whole = is_whole
        """True: for nothing; it is revoked, expired or mistyped. False: it lacks a permission."""


class LedgerUnavailable(Failed):
    """The ledger did not answer, so what was asked could not be recorded."""

    code = "ledger-unavailable"
