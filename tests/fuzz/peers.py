"""nginx and Caddy as reverse proxies with what they default to, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from benchmarks.ground import find_nginx, find_peer
from gateway.cli.ports import free_port
from tests.fuzz.calls import calling

_START_S, _STOP_S = 20.0, 3.0
_NGINX = Template("""\
worker_processes 1; daemon off; pid $folder/nginx.pid; error_log $folder/error.log warn; $user
events { worker_connections 1024; }
http {
  access_log off; client_body_temp_path $folder/body; proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi; uwsgi_temp_path $folder/uwsgi; scgi_temp_path $folder/scgi;
  upstream api { server 127.0.0.1:$upstream; keepalive 16; }
  server {
    listen 127.0.0.1:$port;
    location / { proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
""")
_CADDY = Template("""\
{
  admin off
  auto_https off
  log default {
    level ERROR
  }
}
http://:$port {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:$upstream {
    transport http {
      versions 1.1
      compression off
    }
  }
}
""")


class Missing(Exception):
    """A peer is not installed. The message says what would help."""


@contextmanager
def running_nginx(folder: Path, upstream: int) -> Iterator[tuple[str, int]]:
    """Yields what it calls itself, and its port.

    Raises:
        Missing: It is not installed.
    """
    nginx = find_nginx()
    if nginx is None:
        raise Missing("nginx is not installed (Debian: apt-get install nginx)")
    version = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=True).stderr.strip()
    port = free_port()
    user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
    conf = folder / "nginx.conf"
    conf.write_text(_NGINX.substitute(folder=folder, port=port, upstream=upstream, user=user))
    command: list[str | Path] = [nginx, "-e", folder / "start.log", "-p", folder, "-c", conf]
    with _running(command, folder / "nginx.log", {}):
        yield version.rpartition("/")[2].split(" ")[0], port


@contextmanager
def running_caddy(folder: Path, upstream: int) -> Iterator[tuple[str, int]]:
    """As `running_nginx`."""
    caddy = find_peer("bin/caddy")
    if caddy is None:
        raise Missing("Caddy is not installed (make bench-peers)")
    version = subprocess.run([caddy, "version"], capture_output=True, text=True, check=True).stdout.split()[0]
    port = free_port()
    conf = folder / "Caddyfile"
    conf.write_text(_CADDY.substitute(port=port, upstream=upstream))
    env = {"XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command: list[str | Path] = [caddy, "run", "--config", conf, "--adapter", "caddyfile"]
    with _running(command, folder / "caddy.log", env):
        yield version.removeprefix("v"), port


@contextmanager
def _running(command: list[str | Path], log: Path, env: dict[str, str]) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=os.environ | env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        time.sleep(0.1)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:  # Caddy waits for connections as long as they like
            process.kill()
            process.wait()


async def listens(port: int) -> None:
    """Return once somebody does.

    Raises:
        ConnectionError: Nobody, for a long time.
    """
    deadline = time.monotonic() + _START_S
    while True:
        try:
            async with calling(port):
                return
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
