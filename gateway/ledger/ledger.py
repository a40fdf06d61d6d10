"""The ledger as the rest of the program sees it: one object, all subjects."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias

from sqlalchemy import literal, select, text

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.accounts import Accounts
from gateway.ledger.alerts import Alerts
from gateway.ledger.audit import Audit
from gateway.ledger.change_turns import ChangeTurns
from gateway.ledger.checkouts import Checkouts
from gateway.ledger.credits import Credits
from gateway.ledger.customers import Customers
from gateway.ledger.database import Database, parse_place
from gateway.ledger.disputes import Disputes
from gateway.ledger.faults import NOT_MIGRATED
from gateway.ledger.going_items import GoingItems
from gateway.ledger.history import UsageHistory
from gateway.ledger.inbox import Inbox
from gateway.ledger.inbox_care import InboxCare
from gateway.ledger.installation import Installation
from gateway.ledger.keys import Keys
from gateway.ledger.meter_proof import MeterProof
from gateway.ledger.metering import Metering
from gateway.ledger.part import unbroken
from gateway.ledger.plan_checks import PlanChecks
from gateway.ledger.reconciliation import Reconciliation
from gateway.ledger.spend_caps import SpendCaps
from gateway.ledger.subscriptions import Subscriptions
from gateway.ledger.sweeps import Sweeps
from gateway.ledger.tables import CUSTOMERS, SCHEMA_REVISION
from gateway.ledger.tier_grants import TierGrants
from gateway.ledger.unbilled import UnbilledOverage
from gateway.ledger.usage import Usage

DEADLINE_S = 5.0

Tables: TypeAlias = Literal["none", "older", "current", "newer"]


class Ledger(
    Customers,
    Keys,
    Subscriptions,
    Accounts,
    Disputes,
    Inbox,
    InboxCare,
    Checkouts,
    ChangeTurns,
    PlanChecks,
    Usage,
    UsageHistory,
    Alerts,
    Credits,
    TierGrants,
    Reconciliation,
    Sweeps,
    SpendCaps,
    Metering,
    MeterProof,
    UnbilledOverage,
    GoingItems,
    Installation,
    Audit,
):
    """The record of who may do what. Every method may raise `LedgerUnavailable`."""

    @classmethod
    async def open(cls, url: str, *, deadline_s: float = DEADLINE_S) -> Self:
        """A ledger that connects when it is first asked something. Close it with `aclose`.

        Args:
            url: `sqlite:////path`, or any PostgreSQL URL that libpq understands.
            deadline_s: Longest wait for a connection, for a lock, and for one statement's answer.

        Raises:
            LedgerUrlInvalid: The URL names no database we can use.
        """
        return cls(Database(parse_place(url), deadline_s=deadline_s))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._database.aclose()

    @property
    def description(self) -> str:
        """Where the ledger is, in words fit for a log."""
        return self._database.place.description

    @unbroken
    async def ping(self) -> None:
        """Read something.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.reading() as connection:
            await connection.execute(select(literal(1)).select_from(CUSTOMERS).limit(1))

    @unbroken
    async def is_migrated(self) -> bool:
        """Whether the tables are those this version knows, no older and no newer.

        Raises:
            LedgerUnavailable: The database cannot be reached.
        """
        return await self.find_tables() == "current"

    @unbroken
    async def find_tables(self) -> Tables:
        """Whose tables these are: none yet, of an `older` version, of this one (`current`), or of a `newer` one.

        Raises:
            LedgerUnavailable: The database cannot be reached.
        """
        if self._database.place.file is not None and not self._database.place.file.exists():
            return "none"
        try:
            async with self._database.reading() as connection:
                found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        except LedgerUnavailable as error:
            if str(error) == NOT_MIGRATED:
                return "none"
            raise
        if found is None:
            return "none"
        if found == SCHEMA_REVISION:
            return "current"
        return "newer" if found > SCHEMA_REVISION else "older"
