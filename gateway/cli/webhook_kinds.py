"""The ways in which Stripe can tell this gateway what changed: what each is, and what is right about one.

| kind          | at Stripe                        | gets                                              |
|---------------|----------------------------------|---------------------------------------------------|
| `Snapshots`   | a webhook endpoint, or an event  | exactly what the gateway acts on                  |
|               | destination that somebody made   |                                                   |
| `Thin`        | an event destination, thin       | exactly that, and what there is in thin events only |
| `MeterErrors` | an event destination, thin       | at least what there is in thin events only        |
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Protocol

from gateway.billing import API_VERSION, METER_ERRORS, SUBSCRIBED_TYPES, THIN_TYPES, thin_type
from gateway.cli.webhook_sources import best_of, missing_of, sources_of
from gateway.core.errors import BillingRefused

if TYPE_CHECKING:
    from gateway.billing import Billing, DestinationFacts, EndpointFacts, NewEndpoint


_THIN_OF_ENDPOINTS: Final = tuple(thin_type(name) for name in SUBSCRIBED_TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One that leads here."""

    found_id: str
    is_enabled: bool
    api_version: str | None
    """None: the account's, or none, as thin events have."""
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    right: tuple[str, ...]
    """The types that it gets once it is mended."""
    is_telling: bool
    """Whether it gets some of what it is wanted for."""
    is_destination: bool = True


class Kind(Protocol):
    """One of these ways. Every call fails as Stripe's fail: `BillingUnavailable`, `BillingRefused`."""

    noun: ClassVar[str]
    permission: ClassVar[str]
    gets: ClassVar[str]
    made: ClassVar[str]
    advice: ClassVar[str]

    async def fetch(self, billing: Billing, url: str) -> list[Found]:
        """Those that lead here."""
        ...

    async def fetch_beside(self, billing: Billing, url: str) -> list[str]:
        """What else leads here and tells the same: ids of another kind that are enabled."""
        ...

    async def create(self, billing: Billing, url: str) -> NewEndpoint:
        """A new one."""
        ...

    async def repair(self, billing: Billing, one: Found) -> None:
        """Make it right, and enable it."""
        ...

    async def remove(self, billing: Billing, made_id: str) -> None:
        """Take away what was just made."""
        ...


class Snapshots:
    """A webhook endpoint, or an event destination of snapshots. Only endpoints are made."""

    noun: ClassVar[str] = "endpoint"
    permission: ClassVar[str] = "Webhook Endpoints, and for Event Destinations where one of these sends snapshots here"
    gets: ClassVar[str] = "exactly what the gateway acts on"
    made: ClassVar[str] = f", in API version {API_VERSION}"
    advice: ClassVar[str] = "The log has what Stripe said."

    async def fetch(self, billing: Billing, url: str) -> list[Found]:
        """Those that lead here; of destinations, which the key may not be allowed to read, what tells some of it."""
        return [
            *(_endpoint(one) for one in await billing.endpoints.fetch_all() if one.leads_to(url)),
            *(
                _destination(one, SUBSCRIBED_TYPES, SUBSCRIBED_TYPES)
                for one in await _readable_destinations(billing, url)
                if not one.is_thin and _tells_some(one, SUBSCRIBED_TYPES)
            ),
        ]

    async def fetch_beside(self, billing: Billing, url: str) -> list[str]:
        """Event destinations of thin events that send some of what an endpoint gets."""
        thin = (one for one in await _readable_destinations(billing, url) if one.is_enabled and one.is_thin)
        return [one.destination_id for one in thin if _tells_some(one, _THIN_OF_ENDPOINTS)]

    async def create(self, billing: Billing, url: str) -> NewEndpoint:
        """A new one."""
        return await billing.endpoints.create(url)

    async def repair(self, billing: Billing, one: Found) -> None:
        """Give it exactly what the gateway acts on, and enable it."""
        if one.is_destination:
            await _repair_destination(billing, one)
        else:
            await billing.endpoints.repair(one.found_id)

    async def remove(self, billing: Billing, made_id: str) -> None:
        """Take away what was just made."""
        await billing.endpoints.remove(made_id)


class _Destination:
    """An event destination of thin events."""

    noun: ClassVar[str] = "event destination"
    permission: ClassVar[str] = "Event Destinations"
    made: ClassVar[str] = ", for thin events"
    advice: ClassVar[str] = (
        "The log has what Stripe said. An account has 16 endpoints and event destinations at most, and may have to be "
        "let into thin events by Stripe."
    )
    types: ClassVar[tuple[str, ...]]

    async def create(self, billing: Billing, url: str) -> NewEndpoint:
        """A new one."""
        return await billing.destinations.create(url, self.types)

    async def repair(self, billing: Billing, one: Found) -> None:
        """Give it what is right for it, and enable it."""
        await _repair_destination(billing, one)

    async def remove(self, billing: Billing, made_id: str) -> None:
        """Take away what was just made."""
        await billing.destinations.remove(made_id)


class Thin(_Destination):
    """One that tells everything."""

    gets: ClassVar[str] = "exactly what the gateway acts on, as thin events"
    types: ClassVar[tuple[str, ...]] = THIN_TYPES

    async def fetch(self, billing: Billing, url: str) -> list[Found]:
        """Those that lead here and tell some of it."""
        found = await _destinations(billing, url)
        return [
            _destination(one, THIN_TYPES, THIN_TYPES) for one in found if one.is_thin and _tells_some(one, THIN_TYPES)
        ]

    async def fetch_beside(self, billing: Billing, url: str) -> list[str]:
        """Endpoints, which a key for destinations may not be allowed to read, and destinations of snapshots.

        Of both, those that send some of it.
        """
        snapshots = [one for one in await _destinations(billing, url) if one.is_enabled and not one.is_thin]
        try:
            endpoints = await billing.endpoints.fetch_all()
        except BillingRefused:
            endpoints = ()
        telling = (one for one in endpoints if one.is_enabled and len(one.missing_types) < len(SUBSCRIBED_TYPES))
        return [
            *(one.endpoint_id for one in telling if one.leads_to(url)),
            *(one.destination_id for one in snapshots if _tells_some(one, SUBSCRIBED_TYPES)),
        ]


class MeterErrors(_Destination):
    """One that tells what no endpoint gets, whatever else it tells."""

    gets: ClassVar[str] = "what no endpoint gets"
    types: ClassVar[tuple[str, ...]] = METER_ERRORS

    async def fetch(self, billing: Billing, url: str) -> list[Found]:
        """Those that lead here and tell some of it; if none does, whatever sends thin events here."""
        found = [one for one in await _destinations(billing, url) if one.is_thin]
        ours = [_destination(one, METER_ERRORS, (*one.types, *one.missing(METER_ERRORS))) for one in found]
        return [one for one in ours if one.is_telling] or ours

    async def fetch_beside(self, billing: Billing, url: str) -> list[str]:
        """Nothing: no other kind tells it."""
        del billing, url
        return []


async def _destinations(billing: Billing, url: str) -> list[DestinationFacts]:
    """Those of our mode that lead here."""
    return [one for one in await billing.destinations.fetch_all() if one.leads_to(url, is_live=billing.is_live)]


async def _readable_destinations(billing: Billing, url: str) -> list[DestinationFacts]:
    """The same; none if the key may not read them."""
    try:
        return await _destinations(billing, url)
    except BillingRefused:
        return []


async def _repair_destination(billing: Billing, one: Found) -> None:
    await billing.destinations.repair(one.found_id, one.right, is_enabled=one.is_enabled)


def _endpoint(one: EndpointFacts) -> Found:
    return Found(
        found_id=one.endpoint_id,
        is_enabled=one.is_enabled,
        api_version=one.api_version,
        missing=one.missing_types,
        extra=one.extra_types,
        right=SUBSCRIBED_TYPES,
        is_telling=len(one.missing_types) < len(SUBSCRIBED_TYPES),
        is_destination=False,
    )


def _destination(one: DestinationFacts, wanted: tuple[str, ...], right: tuple[str, ...]) -> Found:
    """One that is to get `wanted` at least, and gets `right` once it is mended."""
    return Found(
        found_id=one.destination_id,
        is_enabled=one.is_enabled,
        api_version=one.api_version,
        missing=one.missing(wanted),
        extra=tuple(sorted(set(one.types).difference(right))),
        right=right,
        is_telling=_tells_some(one, wanted),
    )


def _tells_some(one: DestinationFacts, wanted: tuple[str, ...]) -> bool:
    return len(one.missing(wanted)) < len(wanted)


async def kind_to_mend(billing: Billing, url: str) -> Kind | None:
    """The way by which most of what matters comes now; an endpoint where nothing does. None: all of it comes.

    Raises:
        BillingUnavailable: Nobody knows.
    """
    endpoints: tuple[EndpointFacts, ...] = ()
    destinations: tuple[DestinationFacts, ...] = ()
    with suppress(BillingRefused):  # the key may not read them
        endpoints = await billing.endpoints.fetch_all()
    with suppress(BillingRefused):
        destinations = await billing.destinations.fetch_all()
    ours = sources_of(url, endpoints, destinations, is_live=billing.is_live)
    if not missing_of(ours):
        return None
    best = best_of(ours)
    return Thin() if best is not None and best.payload == "thin" else Snapshots()
