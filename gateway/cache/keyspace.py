"""Every key and channel in the cache: its name, its type, its expiry. Nothing else writes keys.

| key                                | type   | holds                                   | expires                |
|------------------------------------|--------|-----------------------------------------|------------------------|
| `tg:{<customer>}:use`              | hash   | version, time, sequence, counters       | 7 days after last use  |
| `tg:{<customer>}:acct`             | string | the account as JSON                     | 7 days after last use  |
| `tg:{<customer>}:live<whose>`      | zset   | calls in progress, until when they count | `LIVE_MS` after the last |
| `tg:{<customer>}:end:<receipt>`    | string | `1`: this receipt has ended             | `RECEIPT_MARKER_S`     |
| `tg:{<customer>}:once:<digest>`    | string | what was charged under an Idempotency-Key | policy's `window`    |
| `tg:{<customer>}:onces`            | zset   | digests of these, until when each is kept | the longest `window` |
| `tg:{<customer>}:owed:<receipt>`   | string | `1`: this receipt was charged back      | `OWED_MARKER_S`        |
| `tg:{addr:<address>}:pace`         | hash   | as `use`, one rate, no version          | when the bucket is empty |
| `tg:why:{<boot>}:<page>`           | string | recent decisions of a worker            | as the writer says     |
| `tg:probe:<name>`                  | string | written to see whether that works       | 60 s, or at once       |

All keys of one customer share the hash tag in braces, so they live in one slot of a
cluster and one script may touch them. Fields of `use`:

| field           | value                     | meaning                                                  |
|-----------------|---------------------------|----------------------------------------------------------|
| `v`             | integer                   | version of the account; without it, `use` counts as lost |
| `e`             | replication id            | the server's when this was last held against the ledger  |
| `t`             | Unix milliseconds         | time of the latest charge, unless the clock was far ahead |
| `s`             | integer                   | raised by every charge and settlement that changed a counter |
| `k`             | integer                   | the `s` up to which charges are in what was restored      |
| `r:...`         | `at_ms|debt`              | a rate; debt is in units times the window's milliseconds |
| `q:...`         | `window_starts_at|used`   | a quota; the window is identified by its start           |
| `p:...`         | `window_starts_at|used`   | the same quota in the window before, as it ended         |
| `l`             | `name over_ms field=units ...;` | of each lease that may still give back to quotas (`lease.lua`) |

The counters' names are made by `core.limits.limit_field`, those of credits (`q:credit:...`) by
`core.credits.grant_field`; so is `live<whose>` by the former: `live` for the whole account, `live@<key id>`
for one key.

Channels: `tg:changed` tells whose account was published, by the name of its `use` key; on `tg:beat:<worker>` a
worker hears itself (`news`).
"""

from __future__ import annotations

IDLE_EXPIRY_S = 7 * 86_400
"""A customer without requests leaves the cache after this; the ledger has settled it long before."""

RECEIPT_MARKER_S = 120
"""How long a receipt is remembered as ended, by a refund or a settlement. Nothing repeats either, so this only
bounds what a defect could do; it costs about 100 bytes of cache per ended receipt meanwhile."""

OWED_MARKER_S = 86_400
"""How long a receipt is remembered as charged back: a worker repeats one whose outcome it does not know,
seconds later as a rule, and an outage may come in between."""

CLOCK_TOLERANCE_MS = 5000
"""How far the clocks of two cache servers may differ: `t` holds that much, and not more, against
the clock. Beyond, the clock that wrote it was wrong, and time goes on from the present one."""

LIVE_MS = 30_000
"""A call in progress counts this long from its beginning, and from each time its worker says that it goes
on: the places of a worker that died are free after it. Scripts say the same number."""

EXACT = 2**53
"""Scripts compute in doubles; below this bound, integers are exact."""

_USE_SUFFIX = b"}:use"
USE_PATTERN = "tg:{*}:use"


CHANGED_CHANNEL = "tg:changed"
"""Also in `publish.lua`."""


def use_key(customer_id: str) -> str:
    """Counters and version of one customer."""
    return f"tg:{{{_tag(customer_id)}}}:use"


def acct_key(customer_id: str) -> str:
    """The account of one customer."""
    return f"tg:{{{_tag(customer_id)}}}:acct"


def receipt_key(customer_id: str, receipt_id: str) -> str:
    """Marker that a receipt has ended."""
    return f"tg:{{{_tag(customer_id)}}}:end:{receipt_id}"


def once_key(customer_id: str, digest: str) -> str:
    """What a customer was charged under one Idempotency-Key. With its value, less than 300 bytes of cache."""
    return f"tg:{{{_tag(customer_id)}}}:once:{digest}"


def onces_key(customer_id: str) -> str:
    """Which Idempotency-Keys are kept of a customer: with its entry here, each takes less than 450 bytes."""
    return f"tg:{{{_tag(customer_id)}}}:onces"


def owed_key(customer_id: str, receipt_id: str) -> str:
    """Marker that what a worker let in by itself was counted."""
    return f"tg:{{{_tag(customer_id)}}}:owed:{receipt_id}"


def live_key(customer_id: str, field: str) -> str:
    """Calls in progress that one limit counts."""
    return f"tg:{{{_tag(customer_id)}}}:{field}"


def pace_key(address: str) -> str:
    """Rate of a caller who is known by address only."""
    return f"tg:{{addr:{_tag(address)}}}:pace"


def why_key(boot: str, page: str) -> str:
    """One page of one worker's recent decisions."""
    return f"tg:why:{{{boot}}}:{page}"


def probe_key(name: str) -> str:
    """A key to try whether the server takes writes."""
    return f"tg:probe:{name}"


def beat_channel(worker: str) -> str:
    """Where one worker hears itself."""
    return f"tg:beat:{worker}"


def customer_of(key: bytes) -> str:
    """The customer whose `use` key this is."""
    return key[len(b"tg:{") : -len(_USE_SUFFIX)].decode()


def _tag(name: str) -> str:
    if not name or "{" in name or "}" in name:
        raise ValueError(f"cannot be a hash tag: {name!r}")
    return name
