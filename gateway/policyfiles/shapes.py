"""Expecting a mapping, a list or text from a node, with a fault in words where it is something else."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from gateway.policyfiles.document import Listing, Mapping, Node, Text

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Mapping as Lookup

    from gateway.policyfiles.faults import FaultLog

WordT = TypeVar("WordT", bound=str)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
RESERVED_NAMES = frozenset({"always", "keep", "refuse", "unlimited"})
"""Words of the grammar: a tier called `refuse` could not be told from a refusal."""

_NEVER: Lookup[str, str] = MappingProxyType({})


def as_mapping(node: Node, what: str, faults: FaultLog) -> tuple[tuple[Text, Node], ...]:
    """The entries of a mapping. Nothing written counts as an empty one."""
    if isinstance(node, Mapping):
        return node.entries
    if not (isinstance(node, Text) and node.is_empty):
        faults.is_partial = True
        faults.add(node.place, f"{what} should be a mapping of 'name: value' lines, not {_kind(node)}")
    return ()


def as_list(node: Node, what: str, faults: FaultLog) -> tuple[Node, ...]:
    """The items of a list."""
    if isinstance(node, Listing):
        return node.items
    faults.is_partial = True
    faults.add(node.place, f"{what} should be a list of '- ' lines, not {_kind(node)}")
    return ()


def as_text(node: Node, what: str, faults: FaultLog) -> Text | None:
    """A scalar that says something."""
    if isinstance(node, Text) and not node.is_empty and node.value.strip():
        return node
    faults.add(node.place, f"{what} should be text, not {_kind(node)}")
    return None


def as_word(node: Node, what: str, words: tuple[WordT, ...], faults: FaultLog) -> WordT | None:
    """One of a few words, which may be several words each. Another is a fault."""
    text = as_text(node, what, faults)
    if text is None:
        return None
    said = " ".join(text.value.split())
    for word in words:
        if said == word:
            return word
    faults.add_unknown(text.place, f"{what} is one of {', '.join(words)}, not {shown(text.value)}", said, words)
    return None


def as_fields(
    node: Node,
    what: str,
    faults: FaultLog,
    *,
    known: Collection[str],
    later: Collection[str] = (),
    never: Lookup[str, str] = _NEVER,
) -> dict[str, Node]:
    """The entries of a mapping whose keys are fixed.

    `what` says in faults what the mapping describes (`tier 'free'`); `later` names keys that are
    reserved for later versions, so that they are refused as such; `never` gives reasons for keys
    that people try and that will not come.
    """
    fields: dict[str, Node] = {}
    for key, value in as_mapping(node, what, faults):
        if key.value in known:
            fields[key.value] = value
        elif key.value in later:
            faults.add(key.place, f"{key.value!r} in {what} is not supported by this version")
        elif key.value in never:
            faults.add(key.place, f"{key.value!r} in {what}: {never[key.value]}")
        else:
            expected = ", ".join(sorted(known))
            message = f"unknown key {shown(key.value)} in {what}: expected {expected}"
            faults.add_unknown(key.place, message, key.value, known)
    return fields


def as_texts(node: Node, what: str, faults: FaultLog) -> tuple[Text, ...]:
    """The texts of a list, or the one that stands in its place."""
    if isinstance(node, Text) and not node.is_empty:
        return (node,)
    texts = (as_text(item, f"an entry of {what}", faults) for item in as_list(node, what, faults))
    return tuple(text for text in texts if text is not None)


def check_name(key: Text, what: str, faults: FaultLog) -> bool:
    """Whether a name may be used: it appears in response fields, metrics and links."""
    if key.value in RESERVED_NAMES:
        faults.add(key.place, f"{key.value!r} is a word of the policy language and cannot name {_a(what)}")
        return False
    if _NAME.fullmatch(key.value) is None:
        message = f"{shown(key.value)} cannot name {_a(what)}: small letters, digits, '-' and '_', a letter first"
        faults.add(key.place, message)
        return False
    return True


def title_of(name: str) -> str:
    """What a thing is called on pages if nobody said: `pro-monthly` is `Pro monthly`."""
    return name.replace("-", " ").replace("_", " ").capitalize()


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def _kind(node: Node) -> str:
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list"
    return "nothing" if node.is_empty or not node.value.strip() else f"the text {shown(node.value)}"


def shown(text: str) -> str:
    """Text of a policy file in a fault: quoted, and not longer than a line bears."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")  # noqa: PLR2004 - a readable line
