"""One cache and ledger for all gateways of the suite; one gateway a server, started when it is first needed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.ledger import migrate
from tests.caches import own_cache
from tests.conformance.recorder import Recorder
from tests.conformance.rig import Rig
from tests.conformance.servers import MAX_BODY_BYTES, POLICY, running
from tests.fakes.raw import open_raw_blocking
from tests.fakes.serving import ADMIN_TOKEN


@pytest.fixture(scope="session")
def world(any_cache: object) -> Iterator[dict[str, str]]:
    del any_cache  # one of its kind, but its own: other tests flush theirs
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    ledger_url = f"sqlite:///{folder / 'ledger.sqlite3'}"
    migrate(ledger_url)
    policies = folder / "policies"
    policies.mkdir()
    (policies / "policy.yaml").write_text(POLICY)
    with own_cache(folder) as cache_url:
        yield {
            "STRIPE_SECRET_KEY": "sk_test_0123456789abcdefghijklmn",
            "STRIPE_WEBHOOK_SECRET": "whsec_0123456789abcdefghijklmnopqrstuv",
            "TIERGATE_STRIPE_URL": "http://127.0.0.1:9",  # nothing is billed here
            "TIERGATE_KEY_PEPPER": "a-pepper-that-is-long-enough-for-tests",
            "TIERGATE_ADMIN_TOKEN": ADMIN_TOKEN,
            "TIERGATE_SERVER_TOKEN": "server-0123456789abcdefghij",
            "TIERGATE_REDIS_URL": cache_url,
            "TIERGATE_LEDGER_URL": ledger_url,
            "TIERGATE_DATA_DIR": str(folder),
            "TIERGATE_POLICY_DIR": str(policies),
            "TIERGATE_CACHE_DEADLINE_MS": "5000",
            "TIERGATE_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
            "TIERGATE_SHUTDOWN_GRACE_S": "1",
        }
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def recorder() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with recorder.server:
        yield recorder


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rig_of(world: dict[str, str], recorder: Recorder) -> AsyncIterator[object]:
    """Returns the rig of a server; the server is started the first time."""
    rigs: dict[tuple[str, bool], Rig] = {}
    with ExitStack() as stack:
        cache = stack.enter_context(open_raw_blocking(world["TIERGATE_REDIS_URL"]))

        def find(server: str, *, impatient: bool) -> Rig:
            if (server, impatient) not in rigs:
                gateway = stack.enter_context(running(server, world, recorder.server.url, impatient=impatient))
                rigs[server, impatient] = Rig(gateway, recorder, cache)
            return rigs[server, impatient]

        yield find
        for rig in rigs.values():
            await rig.nothing_is_late()
