"""Durations, sizes, counts and yes or no, as policy writes them: `30s`, `20MB`, `3`, `yes`.

Bounds are given as they would be written, and are shown so. A size in MB is decimal, as
networks count; MiB is binary.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.limit_text import LimitInvalid, parse_duration_s
from gateway.policyfiles.shapes import as_text, shown

if TYPE_CHECKING:
    from gateway.policyfiles.document import Node
    from gateway.policyfiles.faults import FaultLog

_MILLISECONDS = re.compile(r"([0-9]{1,9}) ?ms")
_SIZE = re.compile(r"([0-9]+(?:_[0-9]+)*) ?([A-Za-z]*)")
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1_000,
    "mb": 1_000_000,
    "gb": 1_000_000_000,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_MOST_DIGITS = 15
_FLAGS = {"yes": True, "no": False, "true": True, "false": False, "on": True, "off": False}


def read_duration_s(node: Node, what: str, faults: FaultLog, *, least: str, most: str) -> float | None:
    """Seconds of `500ms`, `30s`, `5m`, `2h`, `1d`; None with a fault in words."""
    text = as_text(node, what, faults)
    if text is None:
        return None
    seconds = _seconds(text.value)
    if seconds is None:
        right = f"{text.value.strip()}s" if text.value.strip().isdecimal() else None
        message = f"{what} is a duration like 500ms, 30s or 5m, not {shown(text.value)}"
        faults.add(text.place, message, suggestion=right)
    elif not (_seconds(least) or 0) <= seconds <= (_seconds(most) or 0):
        faults.add(text.place, f"{what} is at least {least} and at most {most}")
    else:
        return seconds
    return None


def read_size(node: Node, what: str, faults: FaultLog, *, least: str, most: str) -> int | None:
    """Bytes of `20MB`, `512 KiB`, `1_000_000`; None with a fault in words."""
    text = as_text(node, what, faults)
    if text is None:
        return None
    size = parse_size(text.value)
    if size is None:
        letter = _SIZE.fullmatch(text.value.strip())
        right = f"{letter[1]}{letter[2].upper()}B" if letter and letter[2].lower() in {"k", "m", "g"} else None
        message = f"{what} is a size like 512KB, 20MB or 1GB, not {shown(text.value)}"
        faults.add(text.place, message, suggestion=right)
    elif not (parse_size(least) or 0) <= size <= (parse_size(most) or 0):
        faults.add(text.place, f"{what} is at least {least} and at most {most}")
    else:
        return size
    return None


def read_count(node: Node, what: str, faults: FaultLog, *, most: int) -> int | None:
    """A whole number from 1; None with a fault in words."""
    text = as_text(node, what, faults)
    if text is None:
        return None
    count = parse_count(text.value, most=most)
    if count is None:
        faults.add(text.place, f"{what} is a whole number from 1 to {most:_}, not {shown(text.value)}")
    return count


def parse_count(text: str, *, most: int) -> int | None:
    """A whole number from 1 to `most`, or None."""
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > _MOST_DIGITS:
        return None
    return int(digits) if 1 <= int(digits) <= most else None


def read_flag(node: Node, what: str, faults: FaultLog) -> bool | None:
    """`yes` or `no`; None with a fault in words."""
    text = as_text(node, what, faults)
    if text is None:
        return None
    flag = _FLAGS.get(text.value.strip().casefold())
    if flag is None:
        faults.add(text.place, f"{what} is 'yes' or 'no', not {shown(text.value)}")
    return flag


def _seconds(text: str) -> float | None:
    match = _MILLISECONDS.fullmatch(text.strip())
    if match is not None:
        return int(match[1]) / 1000
    try:
        return float(parse_duration_s(text))
    except LimitInvalid:
        return None


def parse_size(text: str) -> int | None:
    """Bytes of a size, or None."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or len(match[1]) > _MOST_DIGITS:
        return None
    unit = _BYTES.get(match[2].lower())
    return None if unit is None else int(match[1].replace("_", "")) * unit
