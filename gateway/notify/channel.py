"""What every way to the seller can do."""

from __future__ import annotations

from typing import Protocol


class NotTaken(Exception):
    """The other side did not take an event. The message names no address and no secret.

    Args:
        message: Why, in some words.
        is_final: Trying again is no use.
    """

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Channel(Protocol):
    """One way."""

    @property
    def name(self) -> str:
        """As the ledger calls it."""
        ...

    async def send(self, event_id: str, body: str) -> None:
        """Deliver one event once.

        Args:
            event_id: The same at every try.
            body: The event, as JSON.

        Raises:
            NotTaken: It was not taken, or nobody knows.
        """
        ...

    async def aclose(self) -> None:
        """End what is open."""
        ...
