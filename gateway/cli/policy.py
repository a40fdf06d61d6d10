"""`tiergate policy`: check the files, show what they say, explain one call."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.charge_words import billed_words, cost_words, settle_words
from gateway.cli.faults import count_words, print_cautions, print_faults
from gateway.cli.forward_words import forwarding_lines, group_words
from gateway.cli.offer_words import add_on_words, plan_words
from gateway.core.errors import TargetRejected
from gateway.core.limits import Concurrency, Rate
from gateway.core.nearest import nearest_name
from gateway.core.once import ONCE_METHODS
from gateway.core.outage_policy import outage_words
from gateway.core.target import canonical_path
from gateway.policyfiles import (
    CompiledPolicy,
    PolicyInvalid,
    compile_policy,
    find_gone_plans,
    find_restarts,
    limit_words,
    read_sources,
)
from gateway.settings import find_policy_dir

if TYPE_CHECKING:
    from gateway.core.credits import CreditTerms
    from gateway.core.policy import Policy, Standing, Tier
    from gateway.core.route import Route

_DIRECTORY = click.Path(path_type=Path)

_OUTAGE_MEANS = {
    "deny": "while the cache cannot decide, callers get 503",
    "allow": "while the cache cannot decide, known customers are let in without a count",
    "local": "units for each known customer and worker while the cache cannot decide, counted afterwards",
}

_directory_argument = click.argument("directory", type=_DIRECTORY, default=find_policy_dir)


@click.group("policy")
def policy_group() -> None:
    """Check, show and explain the policy files.

    Without DIRECTORY, those of TIERGATE_POLICY_DIR (environment or .env), else ./policies. No other setting is read.
    """


@policy_group.command()
@_directory_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for editors and CI.")
@click.option(
    "--against",
    type=_DIRECTORY,
    help="The policy directory that DIRECTORY is to follow: says too which counts start again, and which plans go.",
)
def check(directory: Path, *, as_json: bool, against: Path | None) -> None:
    """Read every policy file of DIRECTORY; exit 1 if anything is wrong.

    What is valid and may surprise is said as a warning; the exit code is 0 then.
    """
    before = None if against is None else _load(against).policy
    try:
        compiled = compile_policy(read_sources(directory))
    except PolicyInvalid as invalid:
        if as_json:
            told = {"ok": False, "faults": [asdict(fault) for fault in invalid.faults], "warnings": []}
            click.echo(json.dumps(told))
        else:
            print_faults(invalid.faults)
        sys.exit(1)
    policy, cautions = compiled.policy, compiled.cautions
    if before is not None:
        gone = find_gone_plans(before, policy, compiled.plan_places)
        cautions = (*gone, *find_restarts(before, policy, compiled.limit_places), *cautions)
    if as_json:
        told = {"ok": True, "faults": [], "warnings": [asdict(caution) for caution in cautions]}
        counts = {"tiers": len(policy.tiers), "plans": len(policy.plans), "routes": len(policy.routes)}
        click.echo(json.dumps({**told, "policy_hash": policy.policy_hash, **counts}))
        return
    _print_policy(policy, directory)
    print_cautions(cautions)


@policy_group.command(short_help="Print the policy in words, with every default.")
@_directory_argument
def show(directory: Path) -> None:
    """Print the policy of DIRECTORY in words, with every default filled in."""
    policy = _load(directory).policy
    _print_policy(policy, directory)
    click.echo("\nLifecycle")
    width = max(len(state) for state in policy.lifecycle)
    for state, standing in policy.lifecycle.items():
        click.echo(f"  {state:<{width}}  {_standing_words(standing)}")


@policy_group.command(short_help="Say what METHOD PATH would cost a caller, and why.")
@click.argument("method")
@click.argument("path")
@click.option("--tier", "tier_name", help="The caller's tier. Default: the policy's default tier.")
@click.option(
    "--dir",
    "directory",
    type=_DIRECTORY,
    default=find_policy_dir,
    help="Policy directory. Default: TIERGATE_POLICY_DIR, else policies.",
)
@click.option("--host", default="", help="The Host that is called, where groups of upstreams are told apart by it.")
def explain(method: str, path: str, tier_name: str | None, directory: Path, host: str) -> None:
    """Say what METHOD PATH would cost a caller, why, and where it goes; exit 1 if it would be refused."""
    compiled = _load(directory)
    policy = compiled.policy
    tier = _find_tier(policy, tier_name)
    raw_path = path.partition("?")[0].encode()
    verb = method.upper()
    target, route = _find_route(policy, verb, raw_path)
    click.echo(f"{verb} {target} on {tier.name!r} (policy {policy.policy_hash})\n")
    if route is None:
        click.echo("refused  404 route-not-found: no line in 'routes' matches, and what is not listed is not sold.")
        sys.exit(1)
    number = next(index for index, each in enumerate(policy.routes) if each is route)
    position = f"number {number + 1} of {len(policy.routes)}"
    click.echo(f"route    {route.pattern}  ({compiled.route_places[number]}, {position})")
    if route.requires is not None and route.requires not in tier.features:
        offered = ", ".join(other.name for other in policy.tiers.values() if route.requires in other.features)
        click.echo(f"refused  403 feature-not-in-tier: it requires {route.requires!r}, which is in: {offered}.")
        sys.exit(1)
    if route.requires is not None:
        click.echo(f"requires {route.requires}, which {tier.name!r} has")
    if route.group is not None:
        click.echo(f"group    {route.group}")
    _print_cost(route, tier)
    if verb in ONCE_METHODS:
        click.echo(f"repeats  {_repeat_words(route)}")
    click.echo(f"alerts   {_alert_words(policy)}")
    click.echo(f"outage   {outage_words(tier.when_cache_fails)}: {_OUTAGE_MEANS[tier.when_cache_fails.mode]}")
    click.echo()
    for word, sentence in forwarding_lines(policy, route, tier, raw_path, host):
        click.echo(f"{word:<9} {sentence}")


def _alert_words(policy: Policy) -> str:
    if not policy.alerts:
        return "off"
    shares = ", ".join(f"{percent} %" for percent in policy.alerts)
    return f"at {shares} of a quota, on the ways that the settings name"


def _load(directory: Path) -> CompiledPolicy:
    try:
        return compile_policy(read_sources(directory))
    except PolicyInvalid as invalid:
        print_faults(invalid.faults)
        sys.exit(1)


def _find_tier(policy: Policy, name: str | None) -> Tier:
    wanted = policy.default_tier if name is None else name
    if wanted is None:
        raise click.UsageError(f"the policy has no default tier: name one with --tier ({', '.join(policy.tiers)})")
    if wanted not in policy.tiers:
        right = nearest_name(wanted, policy.tiers)
        hint = "" if right is None else f"; did you mean {right!r}?"
        raise click.UsageError(f"there is no tier {wanted!r} (there are: {', '.join(policy.tiers)}){hint}")
    return policy.tiers[wanted]


def _find_route(policy: Policy, verb: str, raw_path: bytes) -> tuple[str, Route | None]:
    """The canonical path and the route that matches, as the gateway would find it."""
    try:
        target = canonical_path(raw_path, keeps_encoded_slashes=policy.takes_encoded_slashes)
        return target, policy.find_route(verb, target)
    except TargetRejected as rejected:
        click.echo(f"refused  400 {rejected.code}: {rejected}")
        sys.exit(1)


def _print_policy(policy: Policy, directory: Path) -> None:
    click.echo(f"{directory}: valid (policy {policy.policy_hash})")
    click.echo("\nTiers, lowest first")
    for tier in policy.tiers.values():
        default = ", without a subscription" if tier.name == policy.default_tier else ""
        click.echo(f"  {tier.name}{default}")
        for limit in tier.limits:
            click.echo(f"    {limit_words(limit)}")
        if not tier.limits:
            click.echo("    unlimited")
        click.echo(f"    when_cache_fails: {outage_words(tier.when_cache_fails)}")
        if tier.features:
            click.echo(f"    features: {', '.join(sorted(tier.features))}")
    if policy.default_tier is None:
        click.echo("  (no default tier: 402 without a subscription)")
    _print_table("Plans", [(plan.plan_id, plan_words(plan)) for plan in policy.plans.values()])
    if policy.add_ons:
        _print_table("Add-ons", [(add_on.name, add_on_words(add_on)) for add_on in policy.add_ons.values()])
    _print_table("Routes, first match wins", [(route.pattern, _route_words(route)) for route in policy.routes])
    _print_table(
        "Beside the quotas",
        [
            ("credits expire", _expiry_words(policy.credits)),
            ("a change of plan", f"{policy.plan_change} (plan_change)"),
            ("its money", f"{policy.switching.proration} (switching)"),
            ("entitlements", ", ".join(sorted(policy.entitlements)) or "none"),
        ],
    )
    if policy.upstreams:
        _print_table("Upstreams", [(group.name, group_words(group)) for group in policy.upstreams.values()])


def _expiry_words(terms: CreditTerms) -> str:
    if terms.at_period_end:
        return "at period end"
    return "never" if terms.expire_s is None else f"after {_duration_words(terms.expire_s)}"


def _print_table(title: str, rows: list[tuple[str, str]]) -> None:
    click.echo(f"\n{title}")
    width = max((len(name) for name, _ in rows), default=0)
    for name, words in rows:
        click.echo(f"  {name:<{width}}  {words}")
    if not rows:
        click.echo("  none")


def _print_cost(route: Route, tier: Tier) -> None:
    click.echo(f"cost     {cost_words(route)}")
    for rule in route.settle:
        click.echo(f"settled  {settle_words(rule)}")
    click.echo(f"billed   {billed_words(route.billable)}")
    cost, measured = dict(route.cost), {measure.meter for measure in route.measures}
    for limit in tier.limits:
        if limit.group not in {None, route.group}:
            click.echo(f"limit    {limit_words(limit)}: does not count this call")
            continue
        if isinstance(limit, Concurrency):
            click.echo(f"limit    {limit_words(limit)}: each call is one while it is in progress, whatever it costs")
            continue
        units = cost.get(limit.meter, 0)
        held = limit.burst if isinstance(limit, Rate) else limit.units
        if limit.meter in measured:
            click.echo(f"limit    {limit_words(limit)}: as many calls as their costs leave room for")
            continue
        often = f"{held // units:_} such calls" if units else "not spent by this call"
        kind = "at once" if isinstance(limit, Rate) else "a window"
        click.echo(f"limit    {limit_words(limit)}: {often}{f' {kind}' if units else ''}")
    if not tier.limits:
        click.echo("limit    none: this tier is unlimited")


def _route_words(route: Route) -> str:
    words = f"cost {cost_words(route)}"
    if route.requires is not None:
        words += f", requires {route.requires}"
    if route.group is not None:
        words += f", group {route.group}"
    return words if route.forward.group is None else f"{words}, to {route.forward.group}"


def _repeat_words(route: Route) -> str:
    if route.settle or route.measures:
        return "each is charged: no Idempotency-Key counts where calls cost by what they ask for or by their response"
    if route.once is None:
        return "each is charged: idempotency is off"
    within = _duration_words(route.once.window_s)
    return f"up to {route.once.repeats:_} with the Idempotency-Key of a charged call are free of quotas for {within}"


def _standing_words(standing: Standing) -> str:
    status = 403 if standing.refusal == "account-suspended" else 402
    after = f"{status} {standing.refusal}" if standing.then is None else f"tier {standing.then!r}"
    if standing.keep_s is None:
        return "keeps its tier"
    return after if standing.keep_s == 0 else f"keeps its tier for {_duration_words(standing.keep_s)}, then {after}"


def _duration_words(seconds: int) -> str:
    for unit, length_s in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds % length_s == 0:
            return count_words(seconds // length_s, unit)
    return count_words(seconds, "second")
