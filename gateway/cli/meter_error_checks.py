"""Does anybody hear of units that Stripe took and does not count? Webhook endpoints cannot: it takes a destination."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.billing import ERROR_REPORTS, METER_ERRORS
from gateway.cli.findings import Finding, ok, warn

if TYPE_CHECKING:
    from gateway.billing import DestinationFacts
    from gateway.core.policy import Policy

_ENDPOINT_ID: Final = "we_"


def check_meter_errors(
    url: str, destinations: tuple[DestinationFacts, ...] | None, policy: Policy, *, is_live: bool
) -> list[Finding]:
    """Whether an enabled event destination sends meter errors here; nothing if policy sells no overage.

    Args:
        url: Of this gateway's webhook.
        destinations: Of the account; None: the key may not read them.
        policy: What is sold.
        is_live: Whether real money moves.
    """
    if not any(policy.tiers[plan.tier].overages for plan in policy.plans.values()):
        return []
    if destinations is None:
        what = "whether Stripe tells of units that it takes and does not count cannot be read with this key"
        return [warn("overage", what, _make(url))]
    found = [one.destination_id for one in destinations if _sends_errors(one, url, is_live=is_live)]
    if found:
        return [ok("overage", f"{', '.join(found)} tells of units that Stripe takes and does not count")]
    what = "no event destination tells of units that Stripe takes and does not count: they are billed to nobody, unseen"
    return [warn("overage", what, _make(url))]


def _sends_errors(one: DestinationFacts, url: str, *, is_live: bool) -> bool:
    """A webhook endpoint gets none, also where it gets everything: such events are none of its API."""
    if one.destination_id.startswith(_ENDPOINT_ID) or not one.is_enabled or not one.leads_to(url, is_live=is_live):
        return False
    return not ERROR_REPORTS.isdisjoint(one.names(METER_ERRORS))


def _make(url: str) -> str:
    return (
        "`tiergate webhook ensure --meter-errors --write-env .env` makes one for "
        f"{url} ({' and '.join(METER_ERRORS)}) and puts its signing secret beside the one that is there; then restart."
    )
