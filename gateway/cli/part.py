"""One process of a small world: its pipes are read, its last words are kept, and it is stopped in the end."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from dataclasses import dataclass, field

STOP_TIMEOUT_S = 15.0


@dataclass(slots=True)
class Part:
    """One child process, its standard error being read line by line."""

    name: str
    process: subprocess.Popen[str]
    tail: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def close(self) -> None:
        """Let go of its pipes, once it has ended and so has whoever inherited them."""
        if self.reader is not None:
            self.reader.join(STOP_TIMEOUT_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def last_words(self) -> str:
        """The end of what it wrote, for an error message."""
        return "\n".join(self.tail[-20:]) or "(it wrote nothing)"

    def stop(self) -> None:
        """End it, by force if it does not end by itself, and let go of it."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.close()
