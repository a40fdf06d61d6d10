"""What leads to the webhook: endpoints and event destinations alike, and which of the events that matter each tells.

What one does not send another may, so everything comes here if those that are enabled tell it together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.billing import SUBSCRIBED_TYPES, thin_type

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.billing import DestinationFacts, EndpointFacts

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


def sources_of(
    url: str, endpoints: Iterable[EndpointFacts], destinations: Iterable[DestinationFacts], *, is_live: bool
) -> list[Source]:
    """Endpoints first, then destinations of this mode, of those that lead to `url`."""
    return [
        *(_endpoint(one) for one in endpoints if one.leads_to(url)),
        *(_destination(one) for one in destinations if one.leads_to(url, is_live=is_live)),
    ]


def missing_of(sources: Iterable[Source]) -> tuple[str, ...]:
    """What matters and none that is enabled tells, by the names of snapshots."""
    told = frozenset[str]().union(*(one.told for one in sources if one.is_enabled))
    return tuple(name for name in SUBSCRIBED_TYPES if name not in told)


def best_of(sources: Iterable[Source]) -> Source | None:
    """The one that tells most of what matters, of those that are enabled if any of these tells some.

    None: no source tells any of it.
    """
    telling = [one for one in sources if one.told]
    return max(telling, key=lambda one: (one.is_enabled, len(one.told)), default=None)


def _endpoint(one: EndpointFacts) -> Source:
    return Source(
        source_id=one.endpoint_id,
        noun="endpoint",
        payload="snapshot",
        is_enabled=one.is_enabled,
        api_version=one.api_version,
        told=_ALL.difference(one.missing_types),
    )


def _destination(one: DestinationFacts) -> Source:
    return Source(
        source_id=one.destination_id,
        noun="event destination",
        payload="thin" if one.is_thin else "snapshot",
        is_enabled=one.is_enabled,
        api_version=one.api_version,
        told=frozenset(name for name in SUBSCRIBED_TYPES if not one.missing((_called(one, name),))),
        count=len(one.types),
    )


def _called(one: DestinationFacts, name: str) -> str:
    return thin_type(name) if one.is_thin else name
