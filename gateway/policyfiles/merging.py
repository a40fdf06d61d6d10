"""Several files as one policy: a section or name that is said in two places is a fault, and so is an unknown one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.policyfiles.document import Node, Text, read_document
from gateway.policyfiles.faults import FaultLog, Place
from gateway.policyfiles.shapes import as_fields, as_list, as_mapping, as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.policyfiles.sources import Sources

GRAMMAR_VERSION = "1"
_NAMED_SECTIONS = ("meters", "tiers", "plans", "add_ons", "lifecycle", "upstreams")
_ONCE = ("cors", "billable", "idempotency", "alerts", "credits", "plan_change", "switching", "debts", "entitlements")
_SECTIONS = ("version", "default_tier", *_NAMED_SECTIONS, *_ONCE, "routes")
_LATER_SECTIONS = ("tests", "enforce", "overrides", "compat")


@dataclass(slots=True)
class Merged:
    """All files as one, every name once."""

    default_tier: Text | None = None
    once: dict[str, Node] = field(default_factory=dict)
    """Sections that are said once."""
    named: dict[str, list[tuple[Text, Node]]] = field(
        default_factory=lambda: {section: [] for section in _NAMED_SECTIONS}
    )
    routes: list[Node] = field(default_factory=list)


def merge(sources: Sources, faults: FaultLog) -> Merged:
    """The sections of all files, as they were written; nothing in them is read yet."""
    merged = Merged()
    defined: dict[tuple[str, str], Place] = {}
    for source in sources.files:
        document = read_document(source, faults)
        if document is None:
            continue
        fields = as_fields(document, "a policy file", faults, known=_SECTIONS, later=_LATER_SECTIONS)
        if len(fields) < len(document.entries):
            faults.is_partial = True
        _check_version(fields.get("version"), document.place, faults)
        if "default_tier" in fields:
            _merge_default(merged, fields["default_tier"], faults)
        for section in _ONCE:
            if section in fields:
                _merge_once(merged, section, fields[section], faults)
        for section in _NAMED_SECTIONS:
            if section in fields:
                entries = as_mapping(fields[section], f"{section!r}", faults)
                merged.named[section] += _first_definitions(section, entries, defined, faults)
        if "routes" in fields:
            merged.routes += as_list(fields["routes"], "'routes'", faults)
    return merged


def _check_version(node: Node | None, start: Place, faults: FaultLog) -> None:
    if node is None:
        faults.add(start, "every policy file says 'version: 1', the grammar it is written in")
    elif not (isinstance(node, Text) and node.value == GRAMMAR_VERSION):
        faults.add(node.place, "this version reads policies of 'version: 1' only")


def _merge_default(merged: Merged, node: Node, faults: FaultLog) -> None:
    text = as_text(node, "'default_tier'", faults)
    if text is None:
        return
    if merged.default_tier is not None:
        faults.add(text.place, f"'default_tier' is defined twice: first at {merged.default_tier.place}")
        return
    merged.default_tier = text


def _merge_once(merged: Merged, section: str, node: Node, faults: FaultLog) -> None:
    first = merged.once.setdefault(section, node)
    if first is not node:
        faults.add(node.place, f"{section!r} is defined twice: first at {first.place}")


def _first_definitions(
    section: str,
    entries: Iterable[tuple[Text, Node]],
    defined: dict[tuple[str, str], Place],
    faults: FaultLog,
) -> list[tuple[Text, Node]]:
    kept = []
    for key, node in entries:
        first = defined.setdefault((section, key.value), key.place)
        if first is not key.place:
            faults.add(key.place, f"{key.value!r} in {section} is defined twice: first at {first}")
            continue
        kept.append((key, node))
    return kept


def check_complete(merged: Merged, sources: Sources, faults: FaultLog) -> None:
    """Refuse a policy by which nobody, or no request, could be let in."""
    where = Place(file=sources.files[0].name)
    if not merged.named["tiers"]:
        faults.add(where, "there are no tiers: nobody could be let in")
    elif merged.default_tier is None and not merged.named["plans"]:
        faults.add(where, "there is no default_tier and no plan: nobody could be let in")
    if not merged.routes:
        faults.add(where, "there are no routes: every request would be refused; write \"- match: '* /**'\" for all")
