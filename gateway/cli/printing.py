"""How results look: JSON for programs, columns for people. Never a secret."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_WIDTH_IN_A_PIPE = 200
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def console(*, stderr: bool = False) -> Console:
    """A console that does not fold lines which a program will read."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else _WIDTH_IN_A_PIPE, highlight=False, emoji=False, markup=False
    )


def print_json(value: Any) -> None:
    """One JSON document on standard output. Instants stay Unix seconds."""
    click.echo(json.dumps(value, indent=2))


def print_columns(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows under a header, or nothing but the header."""
    table = Table(box=None, pad_edge=False, show_edge=False, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Name and value, one pair a line."""
    table = Table(box=None, pad_edge=False, show_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), Text(printable(value)))
    console().print(table)


def policy_check_words(directory: Path) -> str:
    """The command that shows what is wrong in a policy directory, from any working directory."""
    return f"`tiergate policy check {shlex.quote(str(directory.absolute()))}`"


def note(message: str) -> None:
    """A remark beside the result, on standard error."""
    click.echo(message, err=True)


def printable(value: object) -> str:
    """Text that cannot steer a terminal, whoever wrote it. None is a dash."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else "?" for c in text)


def instant_words(at: float | None) -> str | None:
    """`2026-11-24 03:55:07 UTC`."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration_words(seconds: float) -> str:
    """`3 d 4 h`, `2 h 5 min`, `40 s`: the two largest parts."""
    whole = max(0, int(seconds))
    parts = (
        (whole // _DAY_S, "d"),
        (whole % _DAY_S // _HOUR_S, "h"),
        (whole % _HOUR_S // _MINUTE_S, "min"),
        (whole % _MINUTE_S, "s"),
    )
    words = [f"{count} {unit}" for count, unit in parts if count]
    return " ".join(words[:2]) or "0 s"
