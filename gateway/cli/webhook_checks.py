"""Does everything that matters come here? Webhook endpoints and event destinations, looked at together.

What one does not send another may: a gateway is told everything by an endpoint, by a destination of thin events, or
by both. Each signs with a secret of its own, which Stripe does not show: only their number can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.billing import API_VERSION, SUBSCRIBED_TYPES
from gateway.cli.findings import Finding, fail, ok, warn
from gateway.cli.webhook_sources import best_of, missing_of, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.billing import DestinationFacts, EndpointFacts
    from gateway.cli.webhook_sources import Source
    from gateway.settings import Settings


def check_webhook(
    settings: Settings, endpoints: tuple[EndpointFacts, ...] | None, destinations: tuple[DestinationFacts, ...] | None
) -> Iterator[Finding]:
    """Whether everything that matters comes here, once.

    Args:
        settings: Of this gateway.
        endpoints: Of the account; None: the key may not read them.
        destinations: Of the account; None: the key may not read them.
    """
    url = settings.webhook_url
    ours = sources_of(url, endpoints or (), destinations or (), is_live=settings.livemode)
    enabled = [one for one in ours if one.is_enabled]
    missing = missing_of(ours)
    if missing and endpoints is None:
        return  # what cannot be read may tell it: the finding about the key says so
    if not ours:
        yield _nothing(settings, url, is_all=destinations is not None)
        return
    if not enabled:
        best = best_of(ours) or ours[0]
        yield fail("webhook", f"the {best.noun} for {url} is disabled", f"{_command(best)} enables it.")
        return
    yield _complete(enabled, url, missing)
    yield from _each(ours, enabled, url)
    yield from _twice(enabled, url)
    yield from _secrets(settings, enabled)


def _command(one: Source) -> str:
    return "`tiergate webhook ensure --thin`" if one.payload == "thin" else "`tiergate webhook ensure`"


def _complete(enabled: list[Source], url: str, missing: tuple[str, ...]) -> Finding:
    if missing:
        best = best_of(enabled) or enabled[0]
        return fail(
            "webhook",
            f"the {best.noun} for {url} does not get {len(missing)} of the events that matter",
            f"{_command(best)} adds them, or the dashboard (Webhooks): {', '.join(missing)}",
        )
    how = " and ".join(sorted({f"{one.payload} events" for one in enabled if one.told}))
    return ok("webhook", f"{url} is enabled and gets every event that matters, as {how}")


def _each(ours: list[Source], enabled: list[Source], url: str) -> Iterator[Finding]:
    for one in ours:
        if not one.is_enabled and one.count is not None:
            yield warn(
                "webhook",
                f"the {one.noun} {one.source_id} for {url} is disabled",
                "Enable it (dashboard: Workbench, Webhooks), or delete it.",
            )
    for one in enabled:
        if one.api_version not in {None, API_VERSION}:
            yield warn(
                "webhook",
                f"the {one.noun} {one.source_id} sends API version {one.api_version}, this gateway reads {API_VERSION}",
                "Nothing breaks: events are only hints. Make one of this version when convenient.",
            )
        elif one.count is not None:
            yield ok("webhook", f"{one.source_id} sends {one.count} types of {one.payload} events to {url}")


def _twice(enabled: list[Source], url: str) -> Iterator[Finding]:
    times = max(sum(name in one.told for one in enabled) for name in SUBSCRIBED_TYPES)
    if times < 2:  # noqa: PLR2004 - the least number of which one is too many
        return
    many = [one for one in enabled if one.told]
    what = "endpoints" if all(one.noun == "endpoint" for one in many) else "endpoints and event destinations"
    yield warn(
        "webhook",
        f"{len(many)} enabled {what} lead to {url} ({', '.join(one.source_id for one in many)}): "
        f"events come {times} times",
        "Remove all but one. Harmless but for the load.",
    )


def _secrets(settings: Settings, enabled: list[Source]) -> Iterator[Finding]:
    secrets = len(set(settings.webhook_secrets))
    if secrets < len(enabled):
        names = ", ".join(one.source_id for one in enabled)
        yield warn(
            "webhook",
            f"{len(enabled)} ({names}) send events here, each signed with its own secret, and STRIPE_WEBHOOK_SECRET "
            f"has {secrets}: what it lacks is refused as forged",
            "Put all of them there, with commas between, and restart. Stripe shows them in the dashboard (Webhooks).",
        )


def _nothing(settings: Settings, url: str, *, is_all: bool) -> Finding:
    what = f"Stripe has no webhook endpoint for {url}" + (
        ", and no event destination" if is_all else "; event destinations may not be read with this key"
    )
    if settings.livemode:
        fix = "`tiergate webhook ensure --write-env .env` makes it; then restart the gateway."
        return fail("webhook", what, fix)
    return warn(
        "webhook",
        what,
        f"On your own machine: stripe listen --forward-to {url.partition('://')[2]} (its whsec_ secret goes into "
        "STRIPE_WEBHOOK_SECRET). Otherwise set TIERGATE_PUBLIC_URL, and `tiergate webhook ensure --write-env .env` "
        "makes it.",
    )
