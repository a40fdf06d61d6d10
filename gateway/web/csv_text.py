"""Tables as CSV (RFC 4180) that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_RUNS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that begins so is taken for a formula, also in quotes. Source: OWASP, "CSV Injection"."""


def csv_text(header: Sequence[str] | None, rows: Iterable[Sequence[str | int | None]]) -> str:
    """A table with its header (None: it was given before), lines ended by CR LF, cells quoted where they must be.

    Text that a spreadsheet would run gets an apostrophe before it; numbers stay numbers. None is an empty cell.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    if header is not None:
        writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: str | int | None) -> str | int:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_RUNS):
        return f"'{value}"
    return value
