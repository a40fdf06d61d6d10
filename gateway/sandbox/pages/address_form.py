"""The billing address that a payer types."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.sandbox.engine.choosing import ChoiceRefused
from gateway.sandbox.records import Labels

PARTS = {"line1": "Address", "city": "City", "postal_code": "Postal code", "country": "Country (two letters)"}
"""The fields of the form, `address_line1` and so on, with their labels."""
_OF_PROGRAMS = {"line1": "1 Sandbox Street", "city": "San Francisco", "postal_code": "94103", "country": "US"}


def read_address(fields: Mapping[str, str]) -> Labels:
    """The address in the form. A program may leave all of it out, and lives in the sandbox's own street.

    Raises:
        ChoiceRefused: A part is missing.
    """
    typed = {part: fields[f"address_{part}"] for part in PARTS if f"address_{part}" in fields}
    if not typed:
        return _OF_PROGRAMS
    empty = [label for part, label in PARTS.items() if not typed.get(part)]
    if empty:
        raise ChoiceRefused(f"Your billing address is incomplete: {', '.join(empty)}.")
    return typed | {"country": typed["country"].upper()}
