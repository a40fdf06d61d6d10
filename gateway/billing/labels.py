"""Our ids in the metadata of what we make at Stripe: which customer it is of, and in which ledger that one is."""

from __future__ import annotations

from gateway.billing.webhook import METADATA_CUSTOMER, METADATA_LEDGER, METADATA_USER

_LONGEST_METADATA = 500


def customer_labels(customer_id: str, user_id: str, ledger_id: str | None) -> dict[str, str]:
    """The metadata of a Stripe customer, a checkout and what it sells.

    Args:
        customer_id: Ours.
        user_id: The seller's.
        ledger_id: Whose `customer_id` it is; None: it is not said, and nobody can tell later.
    """
    labels = {METADATA_CUSTOMER: customer_id, METADATA_USER: user_id[:_LONGEST_METADATA]}
    return labels if ledger_id is None else {**labels, METADATA_LEDGER: ledger_id}
