"""`<data directory>/runs/`: one directory for each running supervisor and its workers.

In it lie the workers' metrics and the policy they run. Whoever made it holds a lock on it while
it lives, and removes it at its end. What killed supervisors left is removed by the next start:
only a directory without a lock, so that gateways may share a data directory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.supervised import METRICS_VARIABLE, RUN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLES = (RUN_VARIABLE, METRICS_VARIABLE)


@contextmanager
def fresh_run_directory(data_dir: Path) -> Iterator[Path]:
    """A directory of our own, which the processes we start find in their environment.

    Raises:
        OSError: It cannot be made.
    """
    directory, lock = _make(data_dir.absolute() / "runs")
    os.environ.update(dict.fromkeys(_VARIABLES, str(directory)))
    try:
        yield directory
    finally:
        for variable in _VARIABLES:
            del os.environ[variable]
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _make(runs: Path) -> tuple[Path, int]:
    """One process at a time, so that nobody takes a new directory that is not locked yet for an old one."""
    runs.mkdir(mode=0o700, exist_ok=True)
    turn = os.open(runs, os.O_RDONLY)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for left in runs.iterdir():
            _remove_if_abandoned(left)
        directory = Path(tempfile.mkdtemp(dir=runs))
        lock = os.open(directory, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return directory, lock
    finally:
        os.close(turn)


def _remove_if_abandoned(directory: Path) -> None:
    with suppress(OSError):  # in use, or another one's to remove
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(lock)
