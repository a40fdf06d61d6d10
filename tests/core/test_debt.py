"""What is owed for a subscription that is over."""

from typing import Any

import pytest

from gateway.core.debt import OpenInvoice, debt_words, find_debts

NOW = 1_800_000_000
ENDED = {"sub_1": NOW}


def invoice(**changes: Any) -> OpenInvoice:
    facts: dict[str, Any] = {
        "invoice_id": "in_1",
        "number": "A-0001",
        "subscription_id": "sub_1",
        "reason": "subscription_cycle",
        "is_mailed": False,
        "amount": 1900,
        "currency": "usd",
        "created_at": NOW - 60,
        "payment_url": "https://invoice.stripe.com/i/in_1",
    }
    return OpenInvoice(**facts | changes)


@pytest.mark.parametrize(
    ("changes", "is_owed"),
    [
        pytest.param({}, True, id="a renewal"),
        pytest.param({"reason": "subscription_threshold"}, True, id="usage above a threshold"),
        pytest.param({"reason": "subscription_update", "created_at": NOW}, True, id="what was used until the end"),
        pytest.param({"reason": "subscription_create", "is_mailed": True}, True, id="a first invoice by mail"),
        pytest.param({"reason": "subscription_update", "is_mailed": True}, True, id="a change by mail"),
        pytest.param({"reason": "subscription_create"}, False, id="a first payment that never came"),
        pytest.param({"reason": "subscription_update"}, False, id="a change that waited"),
        pytest.param({"amount": 0}, False, id="nothing is left to pay"),
        pytest.param({"subscription_id": "sub_2"}, False, id="another subscription"),
        pytest.param({"subscription_id": None}, False, id="no subscription"),
    ],
)
def test_what_was_had_and_is_not_paid_is_owed(changes: dict[str, Any], *, is_owed: bool) -> None:
    assert bool(find_debts([invoice(**changes)], ENDED)) == is_owed


def test_debts_come_oldest_first_and_the_words_name_that_one() -> None:
    later, first = invoice(invoice_id="in_2", number="A-0002"), invoice(created_at=NOW - 90, amount=4900)
    debts = find_debts([later, first], ENDED)
    assert debts == [first, later]
    assert debt_words(debts) == (
        "2 invoices of subscriptions that have ended are not paid. Pay invoice A-0001 (49.00 USD) first, "
        "then the others."
    )


def test_an_invoice_without_a_number_is_named_by_its_id() -> None:
    assert debt_words([invoice(number=None)]) == (
        "The invoice in_1 (19.00 USD) of a subscription that has ended is not paid. Pay it, then buy again."
    )
