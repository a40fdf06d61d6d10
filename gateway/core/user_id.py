"""Which ids a seller may give its users here: short, readable, and told apart by whoever reads a header field."""

from __future__ import annotations

from typing import Final

from gateway.core.errors import Rejected

OWN_PREFIX: Final = "signup:"
"""Starts the `user_id` of whoever signed up alone; no seller's user may be created with it."""
MAX_LENGTH: Final = 200


class UserIdInvalid(Rejected):
    """A `user_id` that no customer can have."""

    code = "invalid-request"


def check_user_id(user_id: str) -> None:
    """Whether a seller may give a customer this id.

    Raises:
        UserIdInvalid: The message says why not.
    """
    check_name(user_id)
    if user_id.startswith(OWN_PREFIX):
        raise UserIdInvalid(f"A user_id that starts with {OWN_PREFIX!r} is given by this gateway only.")


def check_name(name: str) -> None:
    """Whether a text can be a `user_id`, or what somebody calls itself in its place.

    HTTP trims the value of a field, so an upstream could not tell `bob` from `bob` with a blank.

    Raises:
        UserIdInvalid: The message says why not.
    """
    if not name or len(name) > MAX_LENGTH or not name.isprintable() or name != name.strip():
        raise UserIdInvalid(f"A user_id has 1 to {MAX_LENGTH} printable characters, and no blank at either end.")
