"""Faults and warnings of policy files, as `tiergate policy` prints them: place, words, line, what was meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.policyfiles import Caution, Fault


def print_faults(faults: tuple[Fault, ...]) -> None:
    """Each with its place, and how many there are."""
    for fault in faults:
        _print(fault)
    files = len({fault.file for fault in faults})
    click.echo(f"\n{count_words(len(faults), 'fault')} in {count_words(files, 'file')}.")


def _print(fault: Fault) -> None:
    place = f"{fault.file}:{fault.line}:{fault.column}" if fault.line else fault.file
    click.echo(f"{click.style(place, bold=True)}: {fault.message}")
    if fault.source_line:
        shown, column = _clipped(fault.source_line, fault.column)
        click.echo(f"    {shown}\n    {' ' * (column - 1)}{click.style('^', fg='red')}")
    if fault.suggestion is not None:
        click.echo(f"    did you mean {click.style(repr(fault.suggestion), fg='green')}?")


def _clipped(line: str, column: int, width: int = 100) -> tuple[str, int]:
    """The part of a long line around a column, and the column in it; nothing that moves the cursor."""
    start = max(0, column - 1 - width // 2) if len(line) > width else 0
    part = line[start : start + width]
    return "".join(char if char.isprintable() else " " for char in part), min(column - start, len(part) + 1)


def print_cautions(cautions: Sequence[Caution]) -> None:
    """What is valid and may surprise; nothing if nothing does."""
    if cautions:
        click.echo(f"\n{click.style(count_words(len(cautions), 'warning'), fg='yellow')}")
    for caution in cautions:
        _print(caution)


def count_words(number: int, noun: str) -> str:
    """The number, and the noun in its number."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
