"""Who is let in when a worker has as much in progress as it should have: the lowest tier first is not.

Nothing here queues. Up to `_FREE` of the limit everyone is let in; above it, each tier has a share of
the rest, the highest all of it. So a worker that fills up keeps answering, and says no to those
who pay least first.
"""

from __future__ import annotations

from gateway.core.errors import Overloaded, TooManyConcurrent

_FREE = 0.75


class Load:
    """The calls in progress in one worker.

    Args:
        most: Calls at once. 0: no limit.
        most_per_customer: Calls at once of one customer. 0: no limit.
    """

    __slots__ = ("_by_customer", "_free", "_most", "_most_per_customer", "in_flight")

    def __init__(self, *, most: int, most_per_customer: int) -> None:
        self._most = most
        self._free = int(most * _FREE)
        self._most_per_customer = most_per_customer
        self._by_customer: dict[str, int] = {}
        self.in_flight = 0

    def enter(self, customer_id: str, rank: int, tiers: int) -> None:
        """Another call begins, if it may.

        Args:
            customer_id: Whose.
            rank: Of its tier, 0 for the lowest.
            tiers: How many tiers there are.

        Raises:
            TooManyConcurrent: The customer has as many in progress as one may have.
            Overloaded: The worker is too busy for this tier.
        """
        most, its = self._most_per_customer, self._by_customer.get(customer_id, 0)
        if most and its >= most:
            raise TooManyConcurrent(
                f"This account has {most:,} calls in progress, the most that it may have at once.",
                retry_after_s=1,
                violated=(),
                of_key=False,
            )
        if self._most and self.in_flight >= self._free and self.in_flight >= self.room_for(rank, tiers):
            raise Overloaded("This gateway has as much in progress as it should have.")
        self.in_flight += 1
        self._by_customer[customer_id] = its + 1

    def room_for(self, rank: int, tiers: int) -> int:
        """Calls in progress up to which a tier is let in; at least 1."""
        share = _FREE + (1 - _FREE) * (rank + 1) / tiers
        return max(1, int(self._most * share))

    def leave(self, customer_id: str) -> None:
        """It has ended."""
        self.in_flight -= 1
        left = self._by_customer[customer_id] - 1
        if left:
            self._by_customer[customer_id] = left
        else:
            del self._by_customer[customer_id]
