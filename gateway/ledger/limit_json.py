"""A key's own limits as JSON, so that they can be read back without the policy's grammar."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gateway.core.limits import Concurrency, Limit, Quota, Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS: dict[str, type[Limit]] = {"rate": Rate, "quota": Quota, "concurrency": Concurrency}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def dump_limits(limits: Sequence[Limit]) -> list[dict[str, Any]]:
    """One object per limit: its kind, and its fields by name; a group only if it has one."""
    objects: list[dict[str, Any]] = [{"kind": _NAMES[type(limit)], **asdict(limit)} for limit in limits]
    for one in objects:
        if one["group"] is None:
            del one["group"]
        one.pop("per_seat", None)  # a key's limits never are
    return objects


def load_limits(objects: Sequence[dict[str, Any]]) -> tuple[Limit, ...]:
    """The inverse of `dump_limits`.

    Raises:
        KeyError: A kind that this version does not know.
        TypeError: A field that this version does not know, or one that is missing.
    """
    return tuple(
        _KINDS[one["kind"]](**{name: value for name, value in one.items() if name != "kind"}) for one in objects
    )
