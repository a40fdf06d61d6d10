"""`meters:` and `tiers:`: what is counted, and how much of it each tier may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.limit_text import REQUESTS, LimitInvalid, limit_words, parse_limit
from gateway.core.limits import Concurrency, limit_field
from gateway.core.policy import Meter
from gateway.core.upstream_policy import NO_OPTIONS, ForwardOptions
from gateway.policyfiles.document import Listing, Text
from gateway.policyfiles.forwarding import read_tier_forwarding
from gateway.policyfiles.outages import read_outage_rule
from gateway.policyfiles.overages import read_overages
from gateway.policyfiles.settling import read_settle
from gateway.policyfiles.shapes import as_fields, as_list, as_text, check_name, title_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.core.limits import Limit
    from gateway.core.outage_policy import OutageRule
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog, Place
    from gateway.policyfiles.overages import OverageDraft

_TIER_KEYS = ("title", "description", "limits", "features", "upstream", "when_cache_fails", "overage")
_TIER_LATER = ("grandfather", "enforce", "priority")


@dataclass(frozen=True, slots=True, kw_only=True)
class TierDraft:
    """A tier as written. Its rank is its position."""

    name: Text
    title: str
    description: str
    limits: tuple[tuple[Limit, Place], ...]
    features: tuple[Text, ...]
    forward: ForwardOptions
    when_cache_fails: OutageRule | None
    """None: not said."""
    overages: tuple[OverageDraft, ...] = ()


def read_meters(entries: Sequence[tuple[Text, Node]], faults: FaultLog) -> dict[str, Meter]:
    """The meters by name; `requests` is always there."""
    meters = {REQUESTS: Meter(name=REQUESTS, title=REQUESTS)}
    for key, node in entries:
        if not check_name(key, "meter", faults):
            continue
        what = f"meter {key.value!r}"
        fields = as_fields(node, what, faults, known=("title", "settle"), later=("stripe_meter",))
        title = as_text(fields["title"], f"the title of {what}", faults) if "title" in fields else None
        meters[key.value] = Meter(
            name=key.value,
            title=key.value if title is None else title.value,
            settle=read_settle(fields["settle"], key.value, faults) if "settle" in fields else None,
        )
    return meters


def read_tiers(entries: Sequence[tuple[Text, Node]], meters: Collection[str], faults: FaultLog) -> dict[str, TierDraft]:
    """The tiers by name, lowest first."""
    return {
        key.value: _read_tier(key, node, meters, faults) for key, node in entries if check_name(key, "tier", faults)
    }


def _read_tier(key: Text, node: Node, meters: Collection[str], faults: FaultLog) -> TierDraft:
    what = f"tier {key.value!r}"
    fields = as_fields(node, what, faults, known=_TIER_KEYS, later=_TIER_LATER)
    title = as_text(fields["title"], f"the title of {what}", faults) if "title" in fields else None
    about = as_text(fields["description"], f"the description of {what}", faults) if "description" in fields else None
    if "limits" not in fields:
        faults.add(key.place, f"{what} has no limits: list them, or write 'limits: unlimited'")
    return TierDraft(
        name=key,
        title=title_of(key.value) if title is None else title.value.strip(),
        description="" if about is None else about.value.strip(),
        limits=_read_limits(fields["limits"], what, meters, faults) if "limits" in fields else (),
        features=read_features(fields["features"], what, faults) if "features" in fields else (),
        forward=read_tier_forwarding(fields["upstream"], what, faults) if "upstream" in fields else NO_OPTIONS,
        when_cache_fails=(
            read_outage_rule(fields["when_cache_fails"], what, faults) if "when_cache_fails" in fields else None
        ),
        overages=read_overages(fields["overage"], what, faults) if "overage" in fields else (),
    )


def _read_limits(node: Node, what: str, meters: Collection[str], faults: FaultLog) -> tuple[tuple[Limit, Place], ...]:
    if isinstance(node, Text) and node.value == "unlimited":
        return ()
    items = as_list(node, f"'limits' of {what}", faults)
    limits: list[tuple[Limit, Place]] = []
    first_at: dict[str, str] = {}
    named: dict[str, str] = {}
    for item in items:
        text = as_text(item, f"a limit of {what}", faults)
        limit = None if text is None else _read_limit(text, meters, faults)
        if limit is None:
            continue
        counter = limit_field(limit)
        if counter in first_at:
            faults.add(
                item.place, f"a second limit on {_what_counts(limit)} {first_at[counter]}: keep the one you mean"
            )
            continue
        first_at[counter] = words = f"{limit_words(limit)!r} ({item.place})"
        if named.setdefault(limit.name, words) != words:
            faults.add(
                item.place,
                f"{limit.name!r} would name this limit and {named[limit.name]} in the RateLimit fields: give the meter"
                " or the group of routes another name",
            )
        limits.append((limit, item.place))
    if isinstance(node, Listing) and not items:
        faults.add(node.place, f"{what} has no limits: list them, or write 'limits: unlimited'")
    return tuple(limits)


def _read_limit(text: Text, meters: Collection[str], faults: FaultLog) -> Limit | None:
    try:
        return parse_limit(text.value, meters)
    except LimitInvalid as error:
        faults.add(text.place, str(error), suggestion=error.suggestion)
        return None


def _what_counts(limit: Limit) -> str:
    return "calls at once, beside" if isinstance(limit, Concurrency) else "the same meter and window as"


def read_features(node: Node, what: str, faults: FaultLog) -> tuple[Text, ...]:
    """The features that a tier or an add-on has, each once."""
    features: dict[str, Text] = {}
    for item in as_list(node, f"'features' of {what}", faults):
        text = as_text(item, f"a feature of {what}", faults)
        if text is None or not check_name(text, "feature", faults):
            continue
        if text.value in features:
            faults.add(text.place, f"feature {text.value!r} is listed twice in {what}")
        features[text.value] = text
    return tuple(features.values())
