"""A file that a command writes: whole, or as it was."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def output_to(file: Path | None, *, appends: bool) -> Iterator[tuple[TextIO, bool]]:
    """Somewhere to write to, and whether something is there already.

    What is written to a file is in it once the context ends well; if it ends badly, the file is as it was.

    Args:
        file: Where to; None: standard output.
        appends: Behind what is in the file, instead of in its place.

    Raises:
        ClickException: The file cannot be written.
    """
    try:
        if file is None:
            yield sys.stdout, False
        elif file.exists() and not file.is_file():  # a pipe, or a device
            with file.open("w", encoding="utf-8", newline="") as stream:
                yield stream, False
        elif appends:
            with _behind(file) as stream:
                yield stream, stream.tell() > 0
        else:
            with _instead_of(file) as stream:
                yield stream, False
    except OSError as error:
        raise click.ClickException(f"{file or 'The output'} cannot be written: {error.strerror or error}.") from None


@contextmanager
def _behind(file: Path) -> Iterator[TextIO]:
    with file.open("a", encoding="utf-8", newline="") as stream:
        size = stream.tell()
        try:
            yield stream
            stream.flush()
        except BaseException:
            with suppress(OSError):
                stream.flush()
            stream.truncate(size)
            raise


@contextmanager
def _instead_of(file: Path) -> Iterator[TextIO]:
    target = file.resolve()  # what a link leads to is written, not the link
    number, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    beside = Path(name)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as stream:
            yield stream
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o777)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
