"""The peer that asks our own charge script does so as the script is now."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.ground import Ground, find_nginx_modules
from benchmarks.machine import choose_cores
from benchmarks.rounds import check_answers
from benchmarks.upstream import running_own_upstream
from tests.optional import not_tested


def test_the_lua_peer_charges_and_tells_what_is_left(tmp_path):
    if find_nginx_modules() is None:
        not_tested("the Lua peer", "it is not installed (Debian: apt-get install libnginx-mod-http-lua)")
    ground = Ground(directory=tmp_path, cores=choose_cores())
    with running_own_upstream(ground) as upstream, peers.nginx_lua(ground, upstream) as running:
        check_answers(running, "/v1/1kb")
        check_answers(running, "/v1/upload")
        assert running.count() == 4
