"""Where a page of a customer's keys begins, as text: keys are listed by the second they were made in, then by id."""

from __future__ import annotations

import re
from typing import Final

KEY_PLACE: Final = "^[0-9]{1,12}-[0-9A-Za-z]{1,64}$"
"""What `parse_key_place` takes."""


def key_place(created_at: int, key_id: str) -> str:
    """The place behind a key."""
    return f"{created_at}-{key_id}"


def parse_key_place(text: str) -> tuple[int, str]:
    """`created_at` and `key_id` of the key that a page begins behind.

    Raises:
        ValueError: It is no such place.
    """
    if re.fullmatch(KEY_PLACE, text, re.ASCII) is None:
        raise ValueError(text)
    created_at, _, key_id = text.partition("-")
    return int(created_at), key_id
