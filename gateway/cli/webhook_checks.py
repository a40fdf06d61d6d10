"""Does everything that matters come here? Webhook endpoints and event destinations, looked at together.

What one does not send another may: a gateway is told everything by an endpoint, by a destination of thin events, or
by both. Each signs with a secret of its own, which Stripe does not show: only their number can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.billing import API_VERSION, SUBSCRIBED_TYPES, thin_type
from gateway.cli.findings import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.billing import DestinationFacts, EndpointFacts
    from gateway.settings import Settings

_EVERYTHING: Final = "*"
_ALL: Final = frozenset(SUBSCRIBED_TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What leads here."""

    source_id: str
    noun: str
    payload: str
    """`snapshot` or `thin`."""
    is_enabled: bool
    api_version: str | None
    told: frozenset[str]
    """Of the types that matter, by the names of snapshots."""
    count: int | None = None
    """How many types it gets; None: that is not known."""


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
    ours = [*_endpoints(endpoints or (), url), *_destinations(destinations or (), url, is_live=settings.livemode)]
    enabled = [one for one in ours if one.is_enabled]
    told = frozenset[str]().union(*(one.told for one in enabled))
    if told != _ALL and endpoints is None:
        return  # what cannot be read may tell it: the finding about the key says so
    if not ours:
        yield _nothing(settings, url, is_all=destinations is not None)
        return
    if not enabled:
        yield fail("webhook", f"the {ours[0].noun} for {url} is disabled", f"{_command(ours[0])} enables it.")
        return
    yield _complete(enabled, url, told)
    yield from _each(ours, enabled, url)
    yield from _twice(enabled, url)
    yield from _secrets(settings, enabled)


def _endpoints(endpoints: tuple[EndpointFacts, ...], url: str) -> list[Source]:
    return [
        Source(
            source_id=one.endpoint_id,
            noun="endpoint",
            payload="snapshot",
            is_enabled=one.is_enabled,
            api_version=one.api_version,
            told=_ALL.difference(one.missing_types),
        )
        for one in endpoints
        if one.url.rstrip("/") == url
    ]


def _destinations(destinations: tuple[DestinationFacts, ...], url: str, *, is_live: bool) -> list[Source]:
    return [
        Source(
            source_id=one.destination_id,
            noun="event destination",
            payload="thin" if one.is_thin else "snapshot",
            is_enabled=one.is_enabled,
            api_version=one.api_version,
            told=frozenset(name for name in SUBSCRIBED_TYPES if _tells(one, name)),
            count=len(one.types),
        )
        for one in destinations
        if one.url.rstrip("/") == url and one.is_live == is_live
    ]


def _tells(one: DestinationFacts, name: str) -> bool:
    return not {_EVERYTHING, thin_type(name) if one.is_thin else name}.isdisjoint(one.types)


def _command(one: Source) -> str:
    return "`tiergate webhook ensure --thin`" if one.payload == "thin" else "`tiergate webhook ensure`"


def _complete(enabled: list[Source], url: str, told: frozenset[str]) -> Finding:
    missing = [name for name in SUBSCRIBED_TYPES if name not in told]
    best = max(enabled, key=lambda one: len(one.told))
    if missing:
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
