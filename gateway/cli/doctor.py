"""`tiergate doctor`: looks at everything a gateway needs, and says what to do about what is not well."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from gateway.cli.findings import Finding, Grade, fail, ok
from gateway.cli.local_checks import (
    check_cache,
    check_data_directory,
    check_ledger,
    check_policy,
)
from gateway.cli.opening import run
from gateway.cli.options import examples, json_option
from gateway.cli.printing import console, print_json, printable
from gateway.cli.stripe_checks import check_stripe
from gateway.cli.upstream_checks import check_upstreams
from gateway.cli.webhook import ensure_webhook
from gateway.settings import SettingsInvalid, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.settings import Settings

_COLOURS = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "red"}


@click.command(
    "doctor",
    epilog=examples(
        "tiergate doctor",
        "tiergate doctor --repair --write-env .env",
        "tiergate doctor --json | jq '.findings[] | select(.grade != \"ok\")'",
    ),
    short_help="Check settings and all that they name; say what to mend.",
)
@click.option(
    "--repair", is_flag=True, help="First make or mend the webhook endpoint at Stripe, as `tiergate webhook ensure`."
)
@click.option(
    "--write-env",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --repair: put the secret of a new endpoint first into STRIPE_WEBHOOK_SECRET in this file.",
)
@json_option
def doctor(write_env: Path | None, *, repair: bool, as_json: bool) -> None:
    """Check settings, data directory, cache, ledger, policy, upstream, Stripe, prices, webhook and clocks.

    Without --repair it changes nothing at Stripe, and nothing here, except that it tries the cache with one key of its
    own, which it deletes, and notes in the ledger which Stripe account it first saw. That a Stripe key may write is not
    tried.

    Exit code 1 if anything fails; warnings alone are 0.
    """
    if write_env is not None and not repair:
        raise click.UsageError("--write-env FILE goes with --repair.")
    repaired = [*_repair(write_env)] if repair else []
    try:
        settings = load_settings()
    except SettingsInvalid as invalid:
        faults = [fail("settings", fault, "Correct it in the environment or in .env.") for fault in invalid.faults]
        findings = [*faults, *repaired]
    else:
        findings = [ok("settings", f"complete, {_mode(settings)}"), *repaired, *run(_check(settings))]
    has_failed = any(finding.grade is Grade.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not has_failed, "findings": [_as_json(finding) for finding in findings]})
    else:
        _print(findings)
    raise SystemExit(int(has_failed))


def _repair(write_env: Path | None) -> Iterator[Finding]:
    """What it says of itself goes where `tiergate webhook ensure` says it; what is in its way is a finding."""
    try:
        settings = load_settings(needs_webhook_secret=False)
    except SettingsInvalid:  # told as findings about the settings
        return
    try:
        with redirect_stdout(sys.stderr):
            run(ensure_webhook(settings, None, write_env))
    except click.ClickException as error:
        yield fail(
            "webhook", f"not mended: {error.message}", "`tiergate webhook ensure --help` has every way to do it."
        )


def _mode(settings: Settings) -> str:
    return "without Stripe" if settings.stripe_key is None else f"{settings.mode} mode"


async def _check(settings: Settings) -> list[Finding]:
    policy, findings = check_policy(settings.policy_dir)
    return [
        *check_data_directory(settings.data_dir),
        *await check_cache(settings),
        *await check_ledger(settings),
        *findings,
        *await check_upstreams(settings, policy),
        *await check_stripe(settings, policy),
    ]


def _as_json(finding: Finding) -> dict[str, str | None]:
    return {
        "subject": finding.subject,
        "grade": finding.grade.value,
        "what": finding.what,
        "fix": finding.fix,
    }


def _print(findings: list[Finding]) -> None:
    out = console()
    for finding in findings:
        line = Text(f"{finding.grade.name:<5}", style=_COLOURS[finding.grade])
        line.append(f"{finding.subject:<9} {printable(finding.what)}", style="default")
        out.print(line, soft_wrap=True)
        if finding.fix is not None:
            out.print(Text(f"{'':<15}fix: {printable(finding.fix)}"), soft_wrap=True)
    counts = {grade: sum(finding.grade is grade for finding in findings) for grade in Grade}
    out.print(Text(f"\n{counts[Grade.OK]} fine, {counts[Grade.WARN]} warnings, {counts[Grade.FAIL]} failures"))
