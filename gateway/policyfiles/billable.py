"""`billable:` of the policy or a route: which calls stay charged."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.outcome import Billable
from gateway.policyfiles.document import Mapping, Text
from gateway.policyfiles.quantities import read_flag
from gateway.policyfiles.shapes import as_fields, as_text, as_texts, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_WORDS = re.compile(r"below (?P<below>[1-6][0-9]{2})|(?P<class>[2-5])xx|(?P<one>[2-5][0-9]{2})", re.IGNORECASE)
_FIRST, _END = 200, 600


def read_billable(node: Node, faults: FaultLog) -> Billable:
    """`below 400`, `2xx`, `[2xx, 404]`, or a mapping that also says what a call costs that nobody waited for."""
    if not isinstance(node, Mapping):
        return Billable(ranges=_read_responses(node, faults))
    fields = as_fields(node, "'billable'", faults, known=("responses", "abandoned"))
    abandoned = read_flag(fields["abandoned"], "'abandoned'", faults) if "abandoned" in fields else None
    ranges = _read_responses(fields["responses"], faults) if "responses" in fields else Billable().ranges
    return Billable(ranges=ranges, abandoned=abandoned is not False)


def _read_responses(node: Node, faults: FaultLog) -> tuple[tuple[int, int], ...]:
    if isinstance(node, Text):
        said = as_text(node, "'billable'", faults)
        texts: tuple[Text, ...] = () if said is None else (said,)
    elif not (texts := as_texts(node, "'billable'", faults)):
        faults.add(
            node.place, "'billable' names no response: nothing would ever be charged; write 'below 500' or '2xx'"
        )
    found = (_read_words(text, faults) for text in texts)
    return tuple(each for each in found if each is not None)


def _read_words(text: Text, faults: FaultLog) -> tuple[int, int] | None:
    match = _WORDS.fullmatch(" ".join(text.value.split()))
    if match is None:
        faults.add(text.place, f"{shown(text.value)} is not a kind of response: write 'below 400', '2xx' or '404'")
        return None
    if match["below"] is not None:
        end = int(match["below"])
        if not _FIRST < end <= _END:
            faults.add(text.place, f"'below' is followed by a status from {_FIRST + 1} to {_END}")
            return None
        return _FIRST, end
    if match["class"] is not None:
        return int(match["class"]) * 100, int(match["class"]) * 100 + 100
    return int(match["one"]), int(match["one"]) + 1
