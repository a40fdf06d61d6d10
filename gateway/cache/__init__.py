"""The only package that speaks Redis: counters, rate buckets and account snapshots.

- `keyspace` declares every key; `lua/*.lua` hold one operation each;
- `client.Cache` is what the rest of the program uses; `servers` says what it consists of: one `node`, with
  `lane` and `breaker` behind it, a master that `sentinel` finds, or a `cluster`;
- `server.CacheServer` runs the embedded server, and `keeper.CacheKeeper` keeps it running.

The ledger is the record and the cache can be thrown away: whatever is lost here is loaded
again, and nothing here is believed against the ledger.
"""

from gateway.cache.answers import CHARGED, charge_answer
from gateway.cache.client import Cache
from gateway.cache.codec import decode_account, encode_account
from gateway.cache.errors import CacheServerError, CacheUnavailable
from gateway.cache.keeper import CacheKeeper
from gateway.cache.lease_scripts import prepare_draw, prepare_lease_end
from gateway.cache.once import (
    REPEATED,
    OnceBusy,
    OnceReused,
    Repeated,
    once_answer,
    prepare_once,
    prepare_once_end,
    prepare_once_refund,
    prepare_once_renewal,
)
from gateway.cache.scripts import (
    prepare_charge,
    prepare_release,
    prepare_renewal,
    prepare_settlement,
    with_call,
)
from gateway.cache.server import CacheServer
from gateway.cache.trouble import Trouble, explain_trouble
from gateway.cache.values import Receipt, UsageReading

__all__ = [
    "CHARGED",
    "REPEATED",
    "Cache",
    "CacheKeeper",
    "CacheServer",
    "CacheServerError",
    "CacheUnavailable",
    "OnceBusy",
    "OnceReused",
    "Receipt",
    "Repeated",
    "Trouble",
    "UsageReading",
    "charge_answer",
    "decode_account",
    "encode_account",
    "explain_trouble",
    "once_answer",
    "prepare_charge",
    "prepare_draw",
    "prepare_lease_end",
    "prepare_once",
    "prepare_once_end",
    "prepare_once_refund",
    "prepare_once_renewal",
    "prepare_release",
    "prepare_renewal",
    "prepare_settlement",
    "with_call",
]
