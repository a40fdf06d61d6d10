"""What the ledger refuses. That it cannot be reached is `core.errors.LedgerUnavailable`.

    LedgerConflict             what was asked contradicts what is recorded
      UserExists               another customer has this user id
      CustomerExists           another customer has this customer id or Stripe customer
      CustomerUnknown          no such customer
      KeyExists                another key has this id or digest
      KeysFull                 the account carries as many keys as it may
      KeyEnded                 no such live key of this customer, or it was replaced already
      CheckoutClaimed          no such checkout, or its first key has been handed out
      GrantsFull               the customer has as many live grants of credits as it may
    LooksBackFull              the customer looks back as often at once as it may
    BackupRefused              no backup can be made of this ledger, or not there
    LedgerUrlInvalid           the ledger's URL names no database we can use

No message holds a secret, so each may be shown to an operator.
"""

from __future__ import annotations


class LedgerConflict(Exception):
    """What was asked contradicts what is recorded. Nothing was written."""


class UserExists(LedgerConflict):
    """The seller's user already is a customer."""

    def __init__(self, user_id: str) -> None:
        super().__init__(f"user {user_id!r} already is a customer")
        self.user_id = user_id


class CustomerExists(LedgerConflict):
    """The customer id or the Stripe customer belongs to another customer."""


class CustomerUnknown(LedgerConflict):
    """There is no such customer."""

    def __init__(self, customer_id: str) -> None:
        super().__init__(f"there is no customer {customer_id!r}")
        self.customer_id = customer_id


class KeyExists(LedgerConflict):
    """The key id or the digest is recorded already: draw a new one."""


class KeysFull(LedgerConflict):
    """The account would carry more keys than it may."""


class KeyEnded(LedgerConflict):
    """The customer has no such live key (any more), or it has a successor already."""


class CheckoutClaimed(LedgerConflict):
    """There is no such checkout, or its first key has been handed out."""


class GrantsFull(LedgerConflict):
    """The customer would have more live grants of credits than it may."""


class LooksBackFull(Exception):
    """The customer looks back as often at once as it may. Nothing was read."""


class BackupRefused(Exception):
    """No backup can be made of this ledger, or not there. Nothing was written."""


class LedgerUrlInvalid(ValueError):
    """The URL names no database we can use. The message never repeats the URL."""
