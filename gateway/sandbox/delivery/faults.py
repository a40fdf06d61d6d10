"""What goes wrong on purpose, on the way to a webhook endpoint and in the API."""

from __future__ import annotations

import msgspec

from gateway.sandbox.delivery.chance import hits
from gateway.sandbox.shapes.versions import OTHER_VERSIONS

ORDERS = ("forward", "reverse", "shuffle")


class ApiFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way for API requests to go wrong, for the next `times` that match (0: until faults are cleared).

    With `after`, the request is carried out first: the answer arrives late (`delay_s`), or an error comes in
    its place and the caller cannot know. With `cut`, the connection breaks off in the middle of the answer.
    `share` makes an outage partial: so much of what matches is hit, drawn by the seed of the faults.
    """

    path: str = "/v1/"
    method: str | None = None
    status: int | None = None
    delay_s: float = 0.0
    after: bool = False
    cut: bool = False
    times: int = 1
    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.times < 0 or self.delay_s < 0:
            raise ValueError("times and delay_s must not be negative")
        _check_shares(share=self.share)

    def matches(self, method: str, path: str) -> bool:
        """Whether this request is meant; `path` is a beginning."""
        return path.startswith(self.path) and self.method in {None, method}


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong at present. The default is that nothing is.

    `duplicate`: how many copies are sent beside each delivery. `order` other than forward: deliveries are
    gathered for a moment and released in that order, one after the other. `drop`: types of events that are
    never sent (`*` for all), which Stripe then lists as undelivered. `pause`: nothing is sent until it ends.
    `delay_s`: how long a delivery waits before its first attempt.

    Of those, `duplicate_share`, `drop_share` and `delay_share` say how many are hit. `unreached` is the share
    of attempts that never get to the endpoint; `unanswered` of those that do, whose answer is lost: the
    receiver has the event and Stripe sends it again. `api_version`: what events are written in, whatever the
    endpoint asked for. All of it is drawn by `seed`: the same seed, the same trouble.
    """

    duplicate: int = 0
    duplicate_share: float = 1.0
    order: str = "forward"
    drop: tuple[str, ...] = ()
    drop_share: float = 1.0
    pause: bool = False
    delay_s: float = 0.0
    delay_share: float = 1.0
    unreached: float = 0.0
    unanswered: float = 0.0
    api_version: str | None = None
    seed: int = 0
    api: tuple[ApiFault, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}")
        if self.duplicate < 0 or self.delay_s < 0:
            raise ValueError("duplicate and delay_s must not be negative")
        if self.api_version is not None and self.api_version not in OTHER_VERSIONS:
            raise ValueError(f"api_version must be one of {', '.join(OTHER_VERSIONS)}")
        _check_shares(
            duplicate_share=self.duplicate_share,
            drop_share=self.drop_share,
            delay_share=self.delay_share,
            unreached=self.unreached,
            unanswered=self.unanswered,
        )

    def drops(self, event_type: str, event_id: str) -> bool:
        """Whether this event is lost."""
        is_meant = "*" in self.drop or event_type in self.drop
        return is_meant and hits(self.drop_share, self.seed, "drop", event_id)

    def copies(self, event_id: str) -> int:
        """How many deliveries are made of this event."""
        return 1 + (self.duplicate if hits(self.duplicate_share, self.seed, "duplicate", event_id) else 0)

    def waits_s(self, event_id: str, copy: int) -> float:
        """How long this delivery is held back."""
        return self.delay_s if self.delay_s and hits(self.delay_share, self.seed, "delay", event_id, copy) else 0.0


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be from 0 to 1")
