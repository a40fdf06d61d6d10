"""From files to one policy: merge the sections (`merging`), read each, check them together, hash the result."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, get_args

from gateway.core.alerts import DEFAULT_PERCENTS
from gateway.core.credits import NEVER_EXPIRE
from gateway.core.debt import Debts
from gateway.core.limits import limit_field
from gateway.core.outage_policy import default_rule
from gateway.core.outcome import BELOW_500
from gateway.core.policy import PlanChange, Policy, Tier
from gateway.core.route import Route
from gateway.policyfiles.add_ons import read_add_ons
from gateway.policyfiles.alerts import read_alerts
from gateway.policyfiles.billable import read_billable
from gateway.policyfiles.cautions import (
    find_overshoots,
    find_shared_charges,
    find_unbounded,
    find_unpaced,
)
from gateway.policyfiles.cheap_quotas import find_cheap_quotas
from gateway.policyfiles.consistency import (
    check_costs,
    check_default_group,
    check_default_tier,
    check_features,
    check_groups,
    check_plans,
    check_route_groups,
)
from gateway.policyfiles.cors import read_cors
from gateway.policyfiles.credits import read_credits
from gateway.policyfiles.entitlements import read_entitlements
from gateway.policyfiles.faults import FaultLog, Place
from gateway.policyfiles.lifecycle import (
    check_lifecycle,
    complete_lifecycle,
    find_gifts,
    find_kinder_losses,
    read_lifecycle,
)
from gateway.policyfiles.merging import Merged, check_complete, merge
from gateway.policyfiles.offers import check_offers
from gateway.policyfiles.once import read_once
from gateway.policyfiles.overage_checks import check_overages, overage_prices
from gateway.policyfiles.plans import read_plans
from gateway.policyfiles.prices import SoldPrices
from gateway.policyfiles.routes import honours_keys, read_routes
from gateway.policyfiles.shapes import WordT, as_word
from gateway.policyfiles.sources import read_sources
from gateway.policyfiles.switching import read_switching
from gateway.policyfiles.tiers import read_meters, read_tiers
from gateway.policyfiles.upstreams import read_upstreams

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.limits import Limit
    from gateway.core.outcome import Billable
    from gateway.policyfiles.faults import Caution
    from gateway.policyfiles.named_files import Attachment
    from gateway.policyfiles.once import OnceDraft
    from gateway.policyfiles.routes import RouteDraft
    from gateway.policyfiles.sources import Sources
    from gateway.policyfiles.tiers import TierDraft


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """A policy, and where its routes and limits stand: for explanations."""

    policy: Policy
    route_places: tuple[Place, ...]
    """One for each of `policy.routes`."""
    limit_places: dict[tuple[str, str], Place]
    """Of each tier's limits, by the tier and the limit's counter."""
    plan_places: dict[str, Place]
    """One for each of `policy.plans`, by its id."""
    cautions: tuple[Caution, ...]
    """What is valid and may surprise."""
    attachments: tuple[Attachment, ...]
    """Files that it names, as they were read."""


def load_policy(directory: Path) -> Policy:
    """Read and compile every `*.yaml` of a directory; whether it needs servers of the settings is not asked.

    Raises:
        PolicyInvalid: With every fault found.
    """
    return compile_policy(read_sources(directory)).policy


def compile_policy(sources: Sources, *, has_default_upstream: bool = True) -> CompiledPolicy:
    """Compile one reading of a directory. The same content gives the same policy and hash everywhere.

    Args:
        sources: The reading.
        has_default_upstream: Whether calls for which policy names no servers have somewhere to go.

    Raises:
        PolicyInvalid: With every fault found.
    """
    faults = FaultLog()
    faults.extend(sources.faults)
    faults.is_partial = bool(sources.faults)
    merged = merge(sources, faults)
    meters = read_meters(merged.named["meters"], faults)
    tiers = read_tiers(merged.named["tiers"], meters, faults)
    sold_at = SoldPrices()
    plans = read_plans(merged.named["plans"], sold_at, faults)
    add_ons = read_add_ons(merged.named["add_ons"], meters, sold_at, faults)
    routes = read_routes(merged.routes, meters, faults)
    lifecycle = read_lifecycle(merged.named["lifecycle"], faults)
    alerts = read_alerts(merged.once["alerts"], faults) if "alerts" in merged.once else DEFAULT_PERCENTS
    upstreams = read_upstreams(merged.named["upstreams"], faults)
    cors = read_cors(merged.once["cors"], faults) if "cors" in merged.once else None
    billable = read_billable(merged.once["billable"], faults) if "billable" in merged.once else BELOW_500
    once = read_once(merged.once["idempotency"], faults) if "idempotency" in merged.once else None
    plan_change: PlanChange = _read_word(merged, "plan_change", get_args(PlanChange), faults) or "keep"
    debts: Debts = _read_word(merged, "debts", get_args(Debts), faults) or "refuse"
    switching = read_switching(merged.once.get("switching"), faults)
    credits_ = read_credits(merged.once["credits"], faults) if "credits" in merged.once else NEVER_EXPIRE
    entitlements: frozenset[str] = frozenset()
    if "entitlements" in merged.once:
        entitlements = read_entitlements(merged.once["entitlements"], faults)
    if not faults.is_partial:
        check_default_tier(merged.default_tier, tiers, faults)
        check_plans(plans.values(), tiers, faults)
        check_offers(plans.values(), tiers, add_ons, faults)
        check_features(routes, (*tiers.values(), *add_ons.values()), entitlements, faults)
        check_costs(routes, tiers, faults)
        check_overages(tiers, plans.values(), add_ons.values(), meters, faults)
        check_groups(routes, upstreams, faults)
        check_route_groups(routes, (*tiers.values(), *add_ons.values()), faults)
        if not has_default_upstream:
            check_default_group(routes, upstreams, faults)
        check_lifecycle(lifecycle, tiers, faults)
        check_complete(merged, sources, faults)
    faults.raise_if_any()
    default_tier = None if merged.default_tier is None else merged.default_tier.value
    sold = {plan.tier.value for plan in plans.values()}
    content: dict[str, object] = {
        "default_tier": default_tier,
        "meters": meters,
        "tiers": {name: _tier(rank, draft, is_sold=name in sold) for rank, (name, draft) in enumerate(tiers.items())},
        "plans": {
            name: dataclasses.replace(draft.compiled(), overage_prices=overage_prices(draft, tiers[draft.tier.value]))
            for name, draft in plans.items()
        },
        "add_ons": {name: draft.compiled() for name, draft in add_ons.items()},
        "routes": tuple(_route(draft, billable, once) for draft in routes),
        "lifecycle": complete_lifecycle(lifecycle, default_tier),
        "upstreams": upstreams,
        "cors": cors,
        "alerts": alerts,
        "credits": credits_,
        "plan_change": plan_change,
        "switching": switching,
        "debts": debts,
        "entitlements": entitlements,
    }
    policy = Policy(policy_hash=_hash(content), **content)  # type: ignore[arg-type]  # the sections above
    return CompiledPolicy(
        policy=policy,
        route_places=tuple(route.place for route in routes),
        limit_places={(name, limit_field(one)): at for name, draft in tiers.items() for one, at in draft.limits},
        plan_places={name: draft.name.place for name, draft in plans.items()},
        cautions=(
            *find_overshoots(routes, tiers),
            *find_unbounded(routes),
            *find_unpaced(routes, tiers),
            *find_cheap_quotas(plans.values(), tiers, add_ons, switching, plan_change),
            *find_gifts(lifecycle, default_tier, tiers, plans.values()),
            *find_kinder_losses(lifecycle),
            *find_shared_charges(once, routes),
        ),
        attachments=tuple(faults.attachments),
    )


def _read_word(merged: Merged, section: str, words: tuple[WordT, ...], faults: FaultLog) -> WordT | None:
    """A section that is one word; None: it is not there, or says another."""
    return as_word(merged.once[section], repr(section), words, faults) if section in merged.once else None


def _tier(rank: int, draft: TierDraft, *, is_sold: bool) -> Tier:
    limits: tuple[Limit, ...] = tuple(limit for limit, _ in draft.limits)
    features = frozenset(feature.value for feature in draft.features)
    return Tier(
        name=draft.name.value,
        rank=rank,
        title=draft.title,
        description=draft.description,
        limits=limits,
        features=features,
        forward=draft.forward,
        when_cache_fails=draft.when_cache_fails or default_rule(limits, is_sold=is_sold),
        overages=tuple(overage for one in draft.overages if (overage := one.overage) is not None),
    )


def _route(draft: RouteDraft, billable: Billable, once: OnceDraft | None) -> Route:
    repeats = draft.once or once if honours_keys(draft) else None
    return Route(
        pattern=draft.pattern.text,
        methods=draft.pattern.methods,
        segments=draft.pattern.segments,
        cost=draft.cost,
        requires=None if draft.requires is None else draft.requires.value,
        group=None if draft.group is None else draft.group.value,
        forward=draft.forwarding.options,
        measures=draft.measures,
        settle=draft.settle,
        billable=billable if draft.billable is None else draft.billable,
        once=None if repeats is None else repeats.terms,
    )


def _hash(content: dict[str, object]) -> str:
    """12 hex digits over the meaning: comments and layout do not count; order does, as pages show it.

    Where a named file lies does not count either; what it holds does.
    """
    text = json.dumps(content, default=_plain, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:12]


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    parts = {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.hash is not False}  # type: ignore[arg-type]  # only our dataclasses are left
    return [type(value).__name__, parts]
