"""What all candidates of a run share: the cores, a directory, the tools that were found."""

from __future__ import annotations

import os
import shutil
import string
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Cores
from benchmarks.processes import NotMeasured, running, wait_until_ready
from gateway.cli.ports import free_port

CONF = Path(__file__).parent / "conf"
PEERS = Path(__file__).parent.parent / ".venv-bench"
_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/share/nginx/modules"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where a run takes place."""

    directory: Path
    cores: Cores

    def subdirectory(self, name: str) -> Path:
        """A fresh directory for one process."""
        number = sum(1 for _ in self.directory.iterdir())
        directory = self.directory / f"{number}-{name}"
        directory.mkdir()
        return directory


def find_nginx() -> Path | None:
    """The nginx of this machine."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def find_nginx_modules() -> Path | None:
    """The directory that has nginx's Lua module."""
    return next((folder for folder in _MODULES if (folder / "ngx_http_lua_module.so").is_file()), None)


def find_peer(pattern: str) -> Path | None:
    """A program that `make bench-peers` has installed."""
    return next((path for path in sorted(PEERS.glob(pattern)) if path.is_file()), None)


def fill_in(name: str, target: Path, **values: object) -> Path:
    """Write a configuration with its `$names` filled in."""
    text = string.Template((CONF / name).read_text()).substitute({key: str(value) for key, value in values.items()})
    target.write_text(text)
    return target


@contextmanager
def running_nginx(conf: str, cores: frozenset[int], directory: Path, **values: object) -> Iterator[tuple[int, int]]:
    """An nginx with a configuration of ours. Yields process id and port.

    Raises:
        NotMeasured: There is none, or it does not start.
    """
    nginx = find_nginx()
    if nginx is None:
        raise NotMeasured("nginx is not installed (Debian: apt-get install nginx)")
    port = free_port()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    scratch = " ".join(f"{kind}_temp_path {directory}/{kind};" for kind in kinds)
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    filled = fill_in(
        conf, directory / conf, directory=directory, conf=CONF, port=port, scratch=scratch, user=user, **values
    )
    log = directory / "nginx.log"
    command: list[str | Path] = [nginx, "-e", directory / "nginx.start.log", "-p", directory, "-c", filled]
    with running(command, cores=cores, log=log) as process:
        wait_until_ready(process, port, log)
        yield process.pid, port


def our_python(*arguments: str) -> list[str]:
    """A command that runs a module with this interpreter."""
    return [sys.executable, "-m", *arguments]
