"""Test cards and bank accounts: which numbers pay, which fail, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Challenge: TypeAlias = Literal["never", "unless set up", "always"]
"""When a card's bank wants a payment confirmed (3-D Secure) at which the customer is not there. A bank that ever does
wants it of every payment at which the customer is."""

_SHORTEST = 12
_LONGEST = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """How one test number behaves. `attaches` is False for a card that is refused at once.

    `delayed`: a bank account. It promises at once and pays, or fails (`pays_off_session`), days later.
    `disputes`: it pays, and wants the money back at once.
    `is_set_up`: its bank has agreed to payments without the customer from the beginning.
    """

    brand: str
    number: str
    attaches: bool = True
    pays_on_session: bool = True
    pays_off_session: bool = True
    delayed: bool = False
    disputes: bool = False
    challenge: Challenge = "never"
    is_set_up: bool = False
    decline_code: str = "generic_decline"
    message: str = "Your card was declined."


_CARDS = {
    card.number: card
    for card in (
        Card(brand="visa", number="4242424242424242"),
        Card(brand="mastercard", number="5555555555554444"),
        Card(brand="amex", number="378282246310005"),
        Card(brand="visa", number="4000000000000341", pays_off_session=False),
        Card(brand="visa", number="4000000000000259", disputes=True),
        Card(
            brand="visa",
            number="4000000000009995",
            attaches=False,
            decline_code="insufficient_funds",
            message="Your card has insufficient funds.",
        ),
        Card(brand="visa", number="4000000000000002", attaches=False),
        Card(brand="visa", number="4000002500003155", challenge="unless set up"),
        Card(brand="visa", number="4000000000003220", challenge="unless set up"),
        Card(brand="visa", number="4000003800000446", challenge="unless set up", is_set_up=True),
        Card(brand="visa", number="4000002760003184", challenge="always"),
    )
}
_ACCOUNTS = {
    account.number: account
    for account in (
        Card(brand="us_bank_account", number="000123456789", delayed=True),
        Card(brand="us_bank_account", number="000111111113", delayed=True, pays_off_session=False),
    )
}
"""Stripe's numbers of bank accounts whose debit arrives, and whose debit fails, some days later."""
TEST_METHODS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "pm_card_authenticationRequiredSetupForOffSession": "4000003800000446",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_usBankAccount_success": "000123456789",
    "pm_usBankAccount_insufficientFunds": "000111111113",
}
"""Stripe's names for test cards, good wherever a payment method's id is."""


class CardRefused(Exception):
    """A card cannot be used; `message` may be shown to the payer.

    `code` and `decline_code` are Stripe's.
    """

    def __init__(self, message: str, *, code: str, decline_code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.decline_code = decline_code


class ActionRequired(CardRefused):
    """A card's bank wants the customer to confirm the payment of `what`, and the customer is not there.

    Source: https://docs.stripe.com/error-codes (`invoice_payment_intent_requires_action`, and of a subscription).
    """

    def __init__(self, what: Literal["invoice", "subscription"] = "invoice") -> None:
        super().__init__(
            f"Payment for this {what} requires additional user action before it can be completed successfully.",
            code=f"{what}_payment_intent_requires_action",
        )


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the right check digit (ISO/IEC 7812-1)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value  # noqa: PLR2004  # the digits of a two-digit product
    return total % 10 == 0


def read_number(text: str) -> Card:
    """The card that a payer typed.

    Raises:
        CardRefused: not a card number, or not a test card: real cards are never taken here.
    """
    digits = "".join(text.split()).replace("-", "")
    if digits in _ACCOUNTS:
        return _ACCOUNTS[digits]
    plausible = digits.isascii() and digits.isdigit() and _SHORTEST <= len(digits) <= _LONGEST
    if not plausible or not passes_luhn(digits):
        raise CardRefused("Your card number is invalid.", code="incorrect_number")
    if digits not in _CARDS:
        raise CardRefused(
            "Your card was declined: this sandbox takes test cards only.",
            code="card_declined",
            decline_code="test_mode_live_card",
        )
    return _CARDS[digits]
