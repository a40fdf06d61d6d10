"""`request_headers:` and `response_headers:` of a route: fields that are set, added or removed.

A value may be a secret of the seller's, like the upstream's own token: it may lie in a file, and
neither a value nor the line that it stands on is part of a fault.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from gateway.core.upstream_policy import HeaderEdit
from gateway.policyfiles.attachments import read_attachment
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.shapes import as_fields, as_text, as_texts, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.policyfiles.document import Listing, Node
    from gateway.policyfiles.faults import FaultLog

    WhyNot = Callable[[bytes], str | None]

MOST_EDITS = 64
MOST_VALUE_BYTES = 4096
_ACTIONS = ("set", "add", "remove")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


def read_header_edits(node: Node, key: str, why_not: WhyNot, faults: FaultLog) -> tuple[HeaderEdit, ...]:
    """The edits in the order in which they are made: removals, then what is set, then what is added."""
    if not isinstance(node, Mapping):
        faults.add(
            node.place.without_line(), f"{key!r} is a mapping like '{{set: {{X-Name: value}}, remove: [Server]}}'"
        )
        return ()
    fields = as_fields(node, f"{key!r}", faults, known=_ACTIONS)
    edits: list[HeaderEdit] = []
    taken: dict[bytes, str] = {}
    if "remove" in fields:
        for text in as_texts(fields["remove"], f"'remove' in {key!r}", faults):
            name = _read_name(text, taken, "remove", why_not, faults)
            if name is not None:
                edits.append(HeaderEdit(action="remove", name=name))
    for action in ("set", "add"):
        if action in fields:
            edits += _read_values(fields[action], action, f"{action!r} in {key!r}", taken, why_not, faults)
    if len(edits) > MOST_EDITS:
        faults.add(node.place, f"{key!r} makes more than {MOST_EDITS} changes")
    return tuple(edits)


def _read_values(
    node: Node, action: Literal["set", "add"], what: str, taken: dict[bytes, str], why_not: WhyNot, faults: FaultLog
) -> list[HeaderEdit]:
    if not isinstance(node, Mapping):
        faults.add(node.place.without_line(), f"{what} is a mapping like '{{X-Name: value}}'")
        return []
    edits = []
    for key, value in node.entries:
        name = _read_name(key, taken, action, why_not, faults)
        if name is None:
            continue
        for each in _several(value) if action == "add" else (value,):
            content = _read_value(each, key.value, faults)
            if content is not None:
                edits.append(HeaderEdit(action=action, name=name, value=content))
    return edits


def _several(node: Node) -> tuple[Node, ...]:
    return (node,) if isinstance(node, Text | Mapping) else node.items


def _read_name(text: Text, taken: dict[bytes, str], action: str, why_not: WhyNot, faults: FaultLog) -> bytes | None:
    if _NAME.fullmatch(text.value) is None:
        faults.add(text.place.without_line(), f"{shown(text.value)} is not the name of a header field")
        return None
    name = text.value.lower().encode()
    reason = why_not(name)
    if reason is not None:
        faults.add(text.place.without_line(), f"{text.value!r} cannot be changed here: {reason}")
        return None
    before = taken.get(name)
    if before is not None and (before, action) != ("set", "add"):
        again = "twice" if before == action else f"by {before!r} and {action!r}"
        faults.add(text.place.without_line(), f"{text.value!r} is named {again}: say once what becomes of it")
        return None
    taken[name] = action
    return name


def _read_value(node: Text | Mapping | Listing, name: str, faults: FaultLog) -> bytes | None:
    """The bytes to send: as written, or the only line of a file."""
    what, place = f"the value of {name!r}", node.place.without_line()
    if isinstance(node, Mapping):
        fields = as_fields(node, what, faults, known=("file",))
        text = as_text(fields["file"], "'file'", faults) if "file" in fields else None
        found = None if text is None else read_attachment(text, f"the file with {what}", faults)
        if found is None:
            if "file" not in fields:
                faults.add(place, f"{what} is text, or '{{file: name}}' with the text in it")
            return None
        content = found[1].decode("utf-8", "replace").strip("\r\n \t")
    elif isinstance(node, Text):
        content = node.value.strip(" \t")
    else:
        faults.add(place, f"{what} is one text; several are for 'add'")
        return None
    if not content:
        faults.add(place, f"{what} is empty: to drop a field, list it in 'remove'")
    elif _VALUE.fullmatch(content) is None:
        faults.add(place, f"{what} holds a line break or a character outside ASCII, which a header cannot carry")
    elif len(content) > MOST_VALUE_BYTES:
        faults.add(place, f"{what} is longer than {MOST_VALUE_BYTES:_} bytes")
    else:
        return content.encode("ascii")
    return None
