"""The API behind every candidate: nginx if there is one, else a small server of our own; for streams always ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.ground import Ground, find_nginx, our_python, running_nginx
from benchmarks.processes import running, wait_until_ready
from benchmarks.upstream_server import BODIES
from gateway.cli.ports import free_port


@contextmanager
def running_upstream(ground: Ground) -> Iterator[int]:
    """Serves `BODIES`. Yields its port."""
    if find_nginx() is None:
        with running_own_upstream(ground) as port:
            yield port
        return
    directory = ground.subdirectory("upstream")
    for path, body in BODIES.items():
        file = directory / "bodies" / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    small = BODIES["/v1/1kb"].decode()
    with running_nginx("upstream.conf", ground.cores.others, directory, small=small) as (_, port):
        yield port


@contextmanager
def running_own_upstream(ground: Ground) -> Iterator[int]:
    """Serves `BODIES` and `/v1/stream`. Yields its port."""
    port, log = free_port(), ground.subdirectory("own-upstream") / "log"
    command = our_python("benchmarks.upstream_server", str(port))
    with running(command, cores=ground.cores.others, log=log) as process:
        wait_until_ready(process, port, log)
        yield port


def upstream_words() -> str:
    """What serves the bodies, for the report."""
    return (
        "nginx, 1 worker" if find_nginx() is not None else "a small uvloop server of our own (nginx is not installed)"
    )
