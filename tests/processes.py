"""Which processes there are, on any system."""

from __future__ import annotations

from pathlib import Path

import psutil


def descendants(pid: int) -> set[int]:
    """Process ids of all children, grandchildren and so on."""
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


def working_in(folder: Path) -> set[int]:
    """Process ids of all whose working directory is the folder, or below it; whoever their parent is."""
    found = set()
    for process in psutil.process_iter(["cwd", "status"]):
        facts = process.info
        if facts["cwd"] and facts["status"] != psutil.STATUS_ZOMBIE and Path(facts["cwd"]).is_relative_to(folder):
            found.add(process.pid)
    return found


def living(pids: set[int]) -> set[int]:
    """Those that have not ended. A zombie has."""
    return {pid for pid in pids if _lives(pid)}


def program(pid: int) -> str:
    """The name of the program it runs."""
    return psutil.Process(pid).name()


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
