"""The peers: the API itself, nginx, nginx with a Redis script per request, Envoy and Caddy. One worker each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import redis

from benchmarks.candidate import NO_KEY, Running, cache_group, counter_of, write_keys
from benchmarks.customers import charge_command, make_customers, publish_to_cache, usage_hash
from benchmarks.ground import CONF, Ground, fill_in, find_nginx_modules, find_peer, running_nginx
from benchmarks.machine import on_cores
from benchmarks.processes import Group, NotMeasured, running, wait_until_ready
from gateway.cache import CacheServer
from gateway.cache.scripts import CHARGE
from gateway.cli.ports import free_port
from gateway.core.keys import KeyCodec
from gateway.provisioning import random_text

_HOW_TO_GET = "run `make bench-peers` with a network"


@contextmanager
def direct(ground: Ground, upstream: int) -> Iterator[Running]:
    """The API itself."""
    directory = ground.subdirectory("direct")
    yield Running(port=upstream, key_file=write_keys(directory, (NO_KEY,)))


@contextmanager
def nginx(ground: Ground, upstream: int) -> Iterator[Running]:
    """nginx as a plain proxy."""
    directory = ground.subdirectory("nginx")
    with running_nginx("nginx.conf", ground.cores.gateway, directory, upstream=upstream) as (pid, port):
        yield Running(port=port, gateway=Group(root=pid), key_file=write_keys(directory, (NO_KEY,)))


@contextmanager
def nginx_lua(ground: Ground, upstream: int) -> Iterator[Running]:
    """nginx with one EVALSHA of our own charge script per request, on the cache server that we use, set up as ours.

    Raises:
        NotMeasured: nginx or its Lua module is not installed, or does not start.
    """
    modules = find_nginx_modules()
    if modules is None:
        raise NotMeasured("nginx's Lua module is not installed (Debian: apt-get install nginx libnginx-mod-http-lua)")
    directory = ground.subdirectory("nginx-lua")
    with on_cores(ground.cores.others):
        server = CacheServer.start(directory)
    with server:
        customer = make_customers(1, KeyCodec(random_text(40).encode(), "test"))[0]
        _load_script(server.url)
        asyncio.run(publish_to_cache([customer], server.url))
        command, room = charge_command(customer, CONF / "limited")
        (directory / "commands.txt").write_text(f"{customer.key} {room} {command.hex()}\n")
        socket = Path(unquote(server.url.removeprefix("unix://")))
        values = {"upstream": upstream, "socket": socket, "modules": modules}
        with running_nginx("nginx-lua.conf", ground.cores.gateway, directory, **values) as (pid, port):
            yield Running(
                port=port,
                gateway=Group(root=pid),
                cache=cache_group(server.url),
                cache_urls=(server.url,),
                keys=(customer.key,),
                key_file=write_keys(directory, (customer.key,)),
                count=counter_of(server.url, usage_hash(customer)),
                enforces=True,
                left_field="x-ratelimit-remaining",
            )


@contextmanager
def envoy(ground: Ground, upstream: int) -> Iterator[Running]:
    """Envoy as a plain proxy.

    Raises:
        NotMeasured: It is not installed, or does not start.
    """
    binary = find_peer("lib/python*/site-packages/envoy/_bin/envoy")
    if binary is None:
        raise NotMeasured(f"Envoy is not installed ({_HOW_TO_GET})")
    directory, port = ground.subdirectory("envoy"), free_port()
    conf = fill_in("envoy.yaml", directory / "envoy.yaml", port=port, upstream=upstream)
    command: list[str | Path] = [binary, "-c", conf, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    log = directory / "log"
    with running(command, cores=ground.cores.gateway, log=log) as process:
        wait_until_ready(process, port, log)
        yield Running(port=port, gateway=Group(root=process.pid), key_file=write_keys(directory, (NO_KEY,)))


@contextmanager
def caddy(ground: Ground, upstream: int) -> Iterator[Running]:
    """Caddy as a plain proxy.

    Raises:
        NotMeasured: It is not installed, or does not start.
    """
    binary = find_peer("bin/caddy")
    if binary is None:
        raise NotMeasured(f"Caddy is not installed ({_HOW_TO_GET})")
    directory, port = ground.subdirectory("caddy"), free_port()
    conf = fill_in("Caddyfile", directory / "Caddyfile", port=port, upstream=upstream)
    env = {"GOMAXPROCS": "1", "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    log = directory / "log"
    command: list[str | Path] = [binary, "run", "--config", conf, "--adapter", "caddyfile"]
    with running(command, cores=ground.cores.gateway, log=log, env=env) as process:
        wait_until_ready(process, port, log)
        yield Running(port=port, gateway=Group(root=process.pid), key_file=write_keys(directory, (NO_KEY,)))


def _load_script(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.script_load(CHARGE.source)
