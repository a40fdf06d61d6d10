"""Putting a secret into a file of settings, where its owner and group read it as before, and nowhere else."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE
from tempfile import mkstemp
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_OWNER_ONLY = 0o600
_NOT_OTHERS = 0o770


class EnvFile:
    """A file of `NAME=value` lines, to be replaced as a whole: it is whole at every moment.

    Args:
        path: The file, there or not. A link is followed.

    Raises:
        OSError: A file could not be written beside it, or not be given to whom it belongs. Nothing was changed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        before = self._path.stat() if self._path.exists() else None
        self._lines = [] if before is None else self._path.read_text("utf-8").splitlines()
        descriptor, name = mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
        self._beside = Path(name)
        try:
            _own_as(descriptor, before)
        except OSError:
            self.close()
            raise
        finally:
            os.close(descriptor)

    def put_first(self, name: str, value: str, is_kept: Callable[[str], bool]) -> None:
        """Make `value` the first of the values of `name`, which are separated by commas, and replace the file.

        Args:
            name: Of the setting.
            value: The new one.
            is_kept: Which of the values before stay behind it.

        Raises:
            OSError: The file is as it was.
        """
        pattern = re.compile(rf"\s*(?:export\s+)?{re.escape(name)}\s*=(.*)")
        values = [value]
        kept: list[str] = []
        place: int | None = None
        for line in self._lines:
            matched = pattern.fullmatch(line)
            if matched is None:
                kept.append(line)
                continue
            before = matched[1].partition(" #")[0].strip().strip("'\"")
            values += [one for part in before.split(",") if is_kept(one := part.strip())]
            place = len(kept) if place is None else place
        kept.insert(len(kept) if place is None else place, f"{name}={','.join(dict.fromkeys(values))}")
        self._beside.write_text("\n".join(kept) + "\n", "utf-8")
        self._beside.replace(self._path)

    def close(self) -> None:
        """Leave nothing beside the file."""
        with suppress(FileNotFoundError):
            self._beside.unlink()


def _own_as(descriptor: int, before: os.stat_result | None) -> None:
    """Give a file owner, group and mode of the one it replaces, less what others may; a new one is its owner's."""
    if before is None:
        os.fchmod(descriptor, _OWNER_ONLY)
        return
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, S_IMODE(before.st_mode) & _NOT_OTHERS)
