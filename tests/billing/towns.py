"""Customers of one account, in step with Stripe, and how they fare as they are read again."""

from typing import Any

from gateway.ledger import Ledger
from gateway.sync import Reconciler, Schedule, Sync
from tests.billing.conftest import DAY, NOW, SetClock, StandIn

FAST = Schedule(interval_s=DAY, per_second=1000)


class Town:
    """The customers `ids`, whose Stripe customers are `cus_1` and so on.

    Args:
        sync: Of the process that first read them.
        ledger: Where they are recorded.
        account: What Stripe has.
        stand_in: Who answers for it.
        clock: What time it is.
    """

    def __init__(self, sync: Sync, ledger: Ledger, account: Any, stand_in: StandIn, clock: SetClock) -> None:
        self.sync = sync
        self.ledger = ledger
        self.account = account
        self.stand_in = stand_in
        self.clock = clock
        self.ids: list[str] = []

    async def settle(self, count: int) -> None:
        for number in range(1, count + 1):
            customer_id = f"customer{number:04d}"
            await self.ledger.create_customer(
                customer_id=customer_id, user_id=f"u{number}", now=NOW, stripe_customer_id=f"cus_{number}", actor="test"
            )
            self.account.put(f"cus_{number}", "active")
            await self.sync.sync_customer(customer_id, "before")
            self.ids.append(customer_id)

    def reconciler(self, sync: Sync | None = None) -> Reconciler:
        return Reconciler(
            ledger=self.ledger, sync=sync or self.sync, clock=self.clock, schedule=FAST, channels=["webhook"]
        )

    async def statuses(self) -> set[str]:
        found = [await self.ledger.load_subscription(one) for one in self.ids]
        return {"none" if one is None else one.status for one in found}
