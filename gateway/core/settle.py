"""What a call turns out to have cost: told by its response, or counted from what was moved.

The route's cost was reserved at admission; at the call's end the difference is charged or given back.
Units are whole. Law: what cannot be read changes nothing, so the reservation stands, and whatever is
said, no call costs more than the rule's `at_most`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MOST_UNITS = 999_999_999_999_999
"""The largest integer of a structured field (RFC 9651, 15 digits); the cache's scripts count it exactly."""

_MOST_DIGITS = 15

Source: TypeAlias = Literal["response header", "response bytes", "request bytes"]
Fault: TypeAlias = Literal["missing", "malformed", "above the cap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """Where the real cost in one meter comes from."""

    meter: str
    source: Source
    header: bytes = b""
    """Of a response header: the field's name, lower case."""
    keeps_header: bool = False
    """Whether the caller gets to see the field."""
    per_bytes: int = 1
    """Of bytes: how many make one unit; one that was begun counts."""
    at_most: int = MOST_UNITS


def hear_costs(
    rules: Iterable[Settle], lines: list[bytes]
) -> tuple[list[bytes], dict[str, int], list[tuple[str, Fault]]]:
    """What a response's head says of the call's cost.

    Args:
        rules: Of its route.
        lines: Its field lines.

    Returns:
        The lines without the fields that are for us, units by meter, and what was wrong: meter and fault.
    """
    units: dict[str, int] = {}
    faults: list[tuple[str, Fault]] = []
    hidden: set[bytes] = set()
    for rule in rules:
        if rule.source != "response header":
            continue
        values = [value for name, _, value in (line.partition(b":") for line in lines) if name.lower() == rule.header]
        said = parse_units(values[0].strip(b" \t")) if len(values) == 1 else None
        if said is None:
            faults.append((rule.meter, "malformed" if values else "missing"))
        else:
            units[rule.meter] = min(said, rule.at_most)
            if said > rule.at_most:
                faults.append((rule.meter, "above the cap"))
        if values and not rule.keeps_header:
            hidden.add(rule.header)
    if hidden:
        lines = [line for line in lines if line.partition(b":")[0].lower() not in hidden]
    return lines, units, faults


def counted_rules(rules: Iterable[Settle]) -> tuple[Settle, ...]:
    """Those that count what was moved. They hold for an open WebSocket too, whose head tells no cost."""
    return tuple(rule for rule in rules if rule.source != "response header")


def count_costs(rules: Iterable[Settle], *, response_bytes: int, request_bytes: int) -> dict[str, int]:
    """Units by meter of what was moved, whether or not it was all there is."""
    moved: Mapping[Source, int] = {"response bytes": response_bytes, "request bytes": request_bytes}
    return {
        rule.meter: min(units_of_bytes(moved[rule.source], rule.per_bytes), rule.at_most)
        for rule in rules
        if rule.source in moved
    }


def units_of_bytes(count: int, per_bytes: int) -> int:
    """Units, the last of which may be begun only."""
    return -(-count // per_bytes)


def parse_units(value: bytes) -> int | None:
    """A whole number of at most 15 digits, or None."""
    return int(value) if value.isdigit() and len(value) <= _MOST_DIGITS else None
