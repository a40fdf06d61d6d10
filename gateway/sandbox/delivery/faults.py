"""What goes wrong on purpose, on the way to a webhook endpoint and in the API."""

from __future__ import annotations

import msgspec

ORDERS = ("forward", "reverse", "shuffle")


class ApiFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way for API requests to go wrong, for the next `times` that match.

    With `after`, the request is carried out first: the answer arrives late (`delay_s`), or an error comes in
    its place and the caller cannot know.
    """

    path: str = "/v1/"
    method: str | None = None
    status: int | None = None
    delay_s: float = 0.0
    after: bool = False
    times: int = 1

    def matches(self, method: str, path: str) -> bool:
        """Whether this request is meant; `path` is a beginning."""
        return path.startswith(self.path) and self.method in {None, method}


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong at present. The default is that nothing is.

    `duplicate`: how many copies are sent beside each delivery. `order` other than forward: deliveries are
    gathered for a moment and released in that order, one after the other. `drop`: types of events that are
    never sent (`*` for all), which Stripe then lists as undelivered. `pause`: nothing is sent until it ends.
    """

    duplicate: int = 0
    order: str = "forward"
    drop: tuple[str, ...] = ()
    pause: bool = False
    delay_s: float = 0.0
    api: tuple[ApiFault, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}")
        if self.duplicate < 0 or self.delay_s < 0:
            raise ValueError("duplicate and delay_s must not be negative")

    def drops(self, event_type: str) -> bool:
        """Whether events of that type are lost."""
        return "*" in self.drop or event_type in self.drop
