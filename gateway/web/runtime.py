"""Everything a running worker has opened, in one value that the edge and the routes read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gateway.admission import Admission
from gateway.alerts import Sending
from gateway.assertions import Assertions
from gateway.billing import Billing
from gateway.blocking import Blocking
from gateway.cache import Cache
from gateway.capping import Capping
from gateway.clock import Clock
from gateway.core.forwarding import HeaderRules
from gateway.core.keys import KeyCodec
from gateway.core.load import Load
from gateway.crediting import Crediting
from gateway.explaining import DecisionLog
from gateway.granting import Granting
from gateway.leasing import Leasing
from gateway.ledger import Ledger
from gateway.outages import Outages
from gateway.pacing import Pacing
from gateway.policyfiles import PolicyHolder
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.reporting import Reporter
from gateway.settings import Settings
from gateway.settlement import Settlement
from gateway.signups import Signups
from gateway.sync import Arrivals, EventWorker, PlanChecking, Reconciler, Sync
from gateway.tallies import Tallies
from gateway.telemetry import Metrics
from gateway.unbilled import Unbilled
from gateway.upstream import Groups
from gateway.web.problems import Site
from gateway.web.refused_deliveries import RefusedDeliveries


@dataclass(slots=True)
class Watch:
    """What the checks of one worker remember from one run to the next."""

    stripe_due_at: float = 0.0
    """Monotonic seconds."""
    account_due_at: float = 0.0
    """Monotonic seconds."""
    policy_taken: int = 0
    policy_refused: int = 0
    events_swept: int = 0
    drift_found: int = 0
    findings: Counter[str] = field(default_factory=Counter)
    strangers: Counter[str] = field(default_factory=Counter)
    policy_noted: str = ""
    """Hash of the policy that the audit log is known to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The opened parts of one worker. Built once by `gateway.app`, closed by it."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    site: Site
    codec: KeyCodec
    policy: PolicyHolder
    cache: Cache
    ledger: Ledger
    billing: Billing
    groups: Groups
    rules: HeaderRules
    load: Load
    publisher: Publisher
    provisioning: Provisioning
    blocking: Blocking
    crediting: Crediting
    capping: Capping
    granting: Granting
    admission: Admission
    assertions: Assertions
    outages: Outages
    pacing: Pacing
    signups: Signups
    decisions: DecisionLog
    leasing: Leasing | None
    """None: every call is charged by itself."""
    settlement: Settlement
    tallies: Tallies
    alerts: Sending
    sync: Sync
    arrivals: Arrivals
    reporter: Reporter
    unbilled: Unbilled
    events: EventWorker
    reconciler: Reconciler
    plan_checking: PlanChecking
    watch: Watch = field(default_factory=Watch)
    """What the dependency checks remember."""
    refused_deliveries: RefusedDeliveries = field(default_factory=RefusedDeliveries)
