"""`python -m tests.kills.served`: `tiergate serve`, once for each line on stdin, with steps that can end in SIGKILL.

The program itself knows nothing of this: its calls of the ledger, the cache and Stripe are wrapped from outside
(`watching`) before it begins. All that it imports is imported once, and each start is a fork: a process of its own
all the same, at a tenth of the price. Says its process id on a line, and on another how it ended. A supervisor's
workers import this module again, and are watched too. With arguments it is that command instead, once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import gateway.app  # noqa: F401 - or each start would import it for itself
from gateway.cli.main import main
from gateway.supervised import PARENT_VARIABLE
from tests.kills.watching import FOLDER_VARIABLE, watch

_LOOK_S = 0.02

watch(Path(os.environ[FOLDER_VARIABLE]))


def serve() -> None:
    """In the process that was just forked."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ[PARENT_VARIABLE] = str(os.getppid())
    sys.argv = ["tiergate", "serve"]
    main()


def see_to(child: int) -> bool:
    """Until it has ended. Whether another may be started: whoever asked for it is still there."""
    told_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told_to_stop.append(number))
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            print(f"ended {status}", flush=True)  # noqa: T201 - whoever started us reads it
            return not told_to_stop
        readable, _, _ = select.select([sys.stdin], [], [], _LOOK_S)
        if readable and not told_to_stop:  # nothing is said while one serves: this is the end
            told_to_stop.append(signal.SIGTERM)
        if told_to_stop and told_to_stop[0]:
            told_to_stop[0] = 0
            os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    if sys.argv[1:]:
        main()
    while sys.stdin.buffer.raw.readline():  # type: ignore[union-attr]  # unbuffered: `select` sees what is left
        forked = os.fork()
        if not forked:
            serve()
            os._exit(0)
        print(forked, flush=True)  # noqa: T201 - as above
        if not see_to(forked):
            break
