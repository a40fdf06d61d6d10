"""The files in which the workers of a machine add up their metrics."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict


def fold_worker(directory: Path, pid: int) -> None:
    """Add what a dead worker has counted to one file for all the dead, so that theirs do not pile up.

    Its gauges are dropped: every other worker sets the same ones within seconds.

    Args:
        directory: Where workers share their metrics.
        pid: Of a process that has ended.

    Raises:
        OSError, RuntimeError: Its files cannot be read, or the sum not written.
    """
    with files_at_rest(directory, fcntl.LOCK_EX):
        for file in directory.glob(f"*_{pid}.db"):
            kind = file.stem.removesuffix(f"_{pid}")
            if kind in {"counter", "histogram"}:
                _add(file, directory / f"{kind}_dead.db")
            file.unlink()


def _add(file: Path, total: Path) -> None:
    sums = MmapedDict(str(total))  # type: ignore[no-untyped-call]  # the library's class has no annotations
    try:
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]  # as above
            before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]  # as above
            sums.write_value(key, before + value, 0.0)  # type: ignore[no-untyped-call]  # as above
    finally:
        sums.close()  # type: ignore[no-untyped-call]  # as above


@contextmanager
def files_at_rest(directory: Path, operation: int) -> Iterator[None]:
    """Nobody reads the files while one is added to another: what moves would be seen twice, or not at all."""
    handle = os.open(directory / "metrics.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, operation)
        yield
    finally:
        os.close(handle)
