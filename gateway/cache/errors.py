"""What can go wrong with the cache, as the rest of the program sees it."""

from __future__ import annotations

from gateway.core.errors import CapacityReduced


class CacheUnavailable(CapacityReduced):
    """The cache did not answer in time, broke the connection, or refused the command.

    It was not repeated.

    Args:
        message: For the caller.
        reason: For the operator: it may name machines, and is not part of `str(error)`.
        may_have_happened: It was sent and not answered. Else it was not done: not sent, or refused.
    """

    def __init__(
        self,
        message: str = "The limits cannot be checked right now.",
        *,
        reason: str = "",
        may_have_happened: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.may_have_happened = may_have_happened


class CacheServerError(Exception):
    """The embedded cache server cannot be started, or must not be. The message says what to do."""
