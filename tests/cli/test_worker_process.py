"""A worker's process, as its parent sees it."""

from __future__ import annotations

import time

import pytest
import uvicorn
from uvicorn.supervisors import multiprocess

from gateway.cli.supervisor import Worker

MADE: list[uvicorn.Server] = []


class SlowlyMade(uvicorn.Server):
    """Takes its time to be made, so that another thread has the time to make one, too."""

    def __init__(self, config: uvicorn.Config) -> None:
        time.sleep(0.2)
        super().__init__(config)
        MADE.append(self)

    def run(self, sockets: object = None) -> None:
        """Serve at once, and end when the parent was answered."""
        del sockets
        self.started = True
        time.sleep(0.5)


def test_the_parent_is_answered_by_the_server_that_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multiprocess, "Server", SlowlyMade)
    worker = Worker(uvicorn.Config("gateway.app:create_app", factory=True), [])
    worker.parent_conn.send(b"ping")  # before it was there, as a parent does that waits for it
    worker.target([])
    assert len(MADE) == 1
    assert worker.parent_conn.poll(10)
