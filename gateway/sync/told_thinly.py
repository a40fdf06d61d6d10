"""The list of thin events that an event destination of ours was to get.

Stripe does not say which thin events it could not deliver, so all are looked through that happened since the last sweep
that came to its end; those that the ledger has not did not arrive. Younger ones than `_PATIENCE_S` are left to Stripe,
which is delivering them. What the last sweep came to counts for the types that it was of, whichever destination they
were to come by; nothing is older than `back_s`:

    the same types, or fewer            from where it ended
    another type                        from there, or from when the first of the destinations here was made, whichever
                                        is earlier
    the first sweep                     from when that was made
    no destination of thin events here  nothing is listed, and what was swept is forgotten: a gateway with an endpoint
                                        would read everybody twice
    the key may not read them           nothing is listed, and what was swept stays: by now another worker may, as
                                        each asks once a day
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import structlog

from gateway.billing import FIRST_TOLD, THIN_TYPES, Meaning, Told, ToldTo, meaning_of
from gateway.core.errors import BillingRefused
from gateway.ledger import Swept

if TYPE_CHECKING:
    from gateway.billing import Billing, DestinationFacts, EventEnvelope
    from gateway.clock import Clock

log = structlog.get_logger(__name__)

_PATIENCE_S: Final = 600
"""How old an event is before it is missed."""
_OVERLAP_S: Final = 60
"""An event may be listed a moment after others of its time."""
_DAY_S: Final = 86_400
"""Until a key that may not read destinations is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinPlace:
    """What a sweep looks through, and where it is."""

    wanted: Told
    at: ToldTo = FIRST_TOLD


class ToldThinly:
    """What destinations here were to be told.

    Args:
        billing: Is asked.
        clock: Unix seconds.
        back_s: How far back a sweep looks.
        url: Where events have to come.
    """

    name: ClassVar[str] = "told-thinly"

    def __init__(self, *, billing: Billing, clock: Clock, back_s: int, url: str) -> None:
        self._billing = billing
        self._clock = clock
        self._back_s = back_s
        self._url = url
        self._asks_at = float("-inf")

    async def begin(self, swept: Swept) -> ThinPlace | Swept:
        """As the table above says."""
        ours = await self._destinations()
        if ours is None:
            return swept
        names = {name for one in ours for name in one.names(THIN_TYPES)}
        types = tuple(sorted(name for name in names if meaning_of(name) is not Meaning.IGNORE))
        if not types:
            return Swept()
        now = int(self._clock.now())
        begins = [one.created for one in ours]
        if swept.swept_to is not None:
            is_known = set(types).issubset(swept.types)
            begins = [*([] if is_known else begins), swept.swept_to - _OVERLAP_S]
        since, until = max(now - self._back_s, min(begins)), now - _PATIENCE_S
        return ThinPlace(wanted=Told(types=types, since=since, until=until)) if since <= until else Swept()

    def resume(self, kept: dict[str, Any]) -> ThinPlace | None:
        """The types are its own, so it is a place in every release. None: all of it is older than `back_s`."""
        wanted = Told(**{**kept["wanted"], "types": tuple(kept["wanted"]["types"])})
        is_old = wanted.until < self._clock.now() - self._back_s
        return None if is_old else ThinPlace(wanted=wanted, at=ToldTo(**kept["at"]))

    def keep(self, place: ThinPlace) -> dict[str, Any]:
        """All of it."""
        return asdict(place)

    async def fetch(self, place: ThinPlace) -> tuple[list[EventEnvelope], ThinPlace | None]:
        """A page of it."""
        events, following = await self._billing.fetch_told(place.wanted, place.at)
        return events, None if following is None else ThinPlace(wanted=place.wanted, at=following)

    def end(self, place: ThinPlace) -> Swept:
        """Up to which instant, of which types."""
        return Swept(swept_to=place.wanted.until, types=place.wanted.types)

    async def _destinations(self) -> list[DestinationFacts] | None:
        """Those of thin events that lead here; None: the key may not read them, as far as is known here."""
        if self._clock.now() < self._asks_at:
            return None
        try:
            async with self._billing.pace.turn():
                found = await self._billing.destinations.fetch_all()
        except BillingRefused as error:
            self._asks_at = self._clock.now() + _DAY_S
            log.info("event destinations cannot be read, so none is swept for", reason=str(error))
            return None
        return [one for one in found if one.is_thin and one.leads_to(self._url, is_live=self._billing.is_live)]
