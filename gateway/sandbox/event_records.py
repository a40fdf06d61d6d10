"""The records of events and of where they are sent, as `sandbox.records`."""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.sandbox.records import Json, Labels


def is_thin_name(event_type: str) -> bool:
    """Whether a type is that of a thin event: the API's version is in front."""
    return event_type.startswith(("v1.", "v2."))


def thin_name(event_type: str) -> str:
    """The type that a thin event has."""
    return event_type if is_thin_name(event_type) else f"v1.{event_type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where events are sent, and the secret that signs them. `is_destination`: made by the API of those."""

    id: str
    created: int
    url: str
    secret: str
    enabled_events: tuple[str, ...]
    description: str | None = None
    api_version: str | None = None
    enabled: bool = True
    thin: bool = False
    is_destination: bool = False
    name: str = ""
    updated: int = 0
    metadata: Labels = field(default_factory=dict)

    def wants(self, event_type: str) -> bool:
        """Whether this endpoint is enabled for that type of event: it gets all of them as thin events, or none."""
        name = thin_name(event_type) if self.thin else event_type
        is_fit = self.thin or not is_thin_name(event_type)
        return self.enabled and is_fit and not {"*", name}.isdisjoint(self.enabled_events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A change as it was seen when it happened. `endpoint_ids` is who was to be told.

    `thin_data`: what is fetched from /v2/core/events besides, of one that has no snapshot.
    """

    id: str
    type: str
    created: int
    data_object: Json
    previous: Json | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    endpoint_ids: tuple[str, ...] = ()
    thin_data: Json | None = None

    @property
    def is_thin_only(self) -> bool:
        """Whether there is no snapshot of it."""
        return is_thin_name(self.type)

    @property
    def thin_type(self) -> str:
        """The type of the thin event."""
        return thin_name(self.type)

    @property
    def thin_id(self) -> str:
        """The id of the thin event: it is another than the snapshot's, which has its own."""
        return self.id if self.is_thin_only else self.id.replace("evt_", "evt_thin_", 1)
