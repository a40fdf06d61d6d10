"""The policy that the workers of one run follow, kept where a worker that starts later finds it.

What is kept is the content of the files as they were read, so that whoever compiles it gets the
same policy with the same hash, whatever has become of the directory meanwhile. Files that the
policy names, like certificates, are not copied: they are read again where they lie, and a worker
that starts with a newer one is ahead of its fellows until they have noticed it too.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import structlog

from gateway.policyfiles.sources import SourceFile, Sources

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger(__name__)


class LastGood:
    """One file. Several processes may keep and find at any time: it is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, sources: Sources) -> None:
        """Keep what has just been taken. If that fails, it is logged, and a later start reads the directory."""
        files = [[file.name, file.content.decode("utf-8")] for file in sources.files]
        beside = self._path.with_suffix(f".{os.getpid()}")
        try:
            beside.write_text(json.dumps(files), encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            _log.warning("the policy in force cannot be kept for later workers", reason=error.strerror)

    def find(self) -> Sources | None:
        """What was kept last, or None."""
        try:
            files = json.loads(self._path.read_text(encoding="utf-8"))
        except OSError:
            return None
        return Sources(files=tuple(SourceFile(name=name, content=text.encode()) for name, text in files), faults=())
