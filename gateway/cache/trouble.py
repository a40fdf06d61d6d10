"""What is wrong with a cache server, in words, and what to do: from what it answered, or how it broke."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """For operators."""

    what: str
    fix: str


_ADDRESS = "Check that the cache server runs and TIERGATE_REDIS_URL is right; `tiergate doctor` says more."
_LOADING = Trouble(what="It has started and still reads its data.", fix="Wait: calls pass as soon as it has.")
_REPLICA = Trouble(
    what="It is a replica and takes no writes.",
    fix="Set TIERGATE_REDIS_URL to the primary, or make this one the primary (REPLICAOF NO ONE).",
)
_PASSWORD_FIX = "Put this server's user and password into TIERGATE_REDIS_URL: redis://user:password@host:6379/0."  # noqa: S105 - a pattern, not one
_NO_PASSWORD = Trouble(what="It wants a password, and none is set.", fix=_PASSWORD_FIX)
_WRONG_PASSWORD = Trouble(what="It does not take this user or password.", fix=_PASSWORD_FIX)
_NO_PERMISSION = Trouble(
    what="Its user may not do what Tiergate needs.",
    fix="Allow the keys tg:*, and the commands of strings and hashes, scripts, INFO, TIME and SCAN.",
)
_UNTRUSTED = Trouble(
    what="This machine does not trust who has signed its certificate.",
    fix="Name the file of its authority (PEM) at the end of TIERGATE_REDIS_URL: ?ssl_ca_certs=/path/ca.pem.",
)
_OTHER_NAME = Trouble(
    what="Its certificate is for another name than the one it was called by.",
    fix="Write the name that its certificate has into TIERGATE_REDIS_URL. Servers of a cluster are called as they "
    "announce themselves (cluster-announce-hostname, with cluster-preferred-endpoint-type hostname), "
    "masters as the sentinels do (sentinel announce-hostnames yes).",
)
_PLAIN = Trouble(
    what="It does not speak TLS.", fix="Write redis for rediss in TIERGATE_REDIS_URL, or turn TLS on there."
)
_NO_HANDSHAKE = Trouble(
    what="It does not answer in time.",
    fix="Check address, firewall and network. If it speaks TLS, that is rediss:// in TIERGATE_REDIS_URL, else redis://.",
)
_CLIENT_WANTED = Trouble(
    what="It wants a certificate of ours.",
    fix="Add ssl_certfile=/path/own.pem and ssl_keyfile=/path/own.key to what follows the ? of TIERGATE_REDIS_URL.",
)
_CLOSED = Trouble(
    what="It closed the connection.",
    fix="Does it restart? Its log says why. Does it want TLS? Then begin TIERGATE_REDIS_URL with rediss:// "
    "(rediss+cluster://, rediss+sentinel://).",
)
_NOBODY = Trouble(what="Nobody listens there.", fix=_ADDRESS)

_TROUBLES: tuple[tuple[str, Trouble], ...] = (
    (
        "that the cache's url names cannot be used",
        Trouble(
            what="A file of certificates or keys that the URL names cannot be used.",
            fix="Correct ssl_ca_certs, ssl_certfile or ssl_keyfile in TIERGATE_REDIS_URL: PEM, readable by this user.",
        ),
    ),
    ("hostname mismatch", _OTHER_NAME),
    ("ip address mismatch", _OTHER_NAME),
    (
        "certificate has expired",
        Trouble(what="Its certificate has expired.", fix="Renew it there; and is this machine's clock right?"),
    ),
    ("certificate verify failed", _UNTRUSTED),
    ("certificate required", _CLIENT_WANTED),
    ("wrong version number", _PLAIN),
    ("ssl handshake is taking longer", _NO_HANDSHAKE),
    ("timeout connecting", _NO_HANDSHAKE),
    ("timeouterror", _NO_HANDSHAKE),
    ("record layer failure", _PLAIN),
    ("packet length too long", _PLAIN),
    (
        "no answer in time",
        Trouble(
            what="It hangs, or takes longer than TIERGATE_CACHE_DEADLINE_MS.",
            fix="Look at its CPU, its slow log (SLOWLOG GET) and the network; run it near the gateway.",
        ),
    ),
    ("loading", _LOADING),
    ("readonly", _REPLICA),
    ("read only replica", _REPLICA),
    (
        "link with master is down",
        Trouble(what="It is a replica that has lost its primary, and answers nothing.", fix=_REPLICA.fix),
    ),
    (
        "maxmemory",
        Trouble(
            what="Its memory is full, and it evicts nothing.",
            fix="Raise its maxmemory, or give Tiergate a server of its own.",
        ),
    ),
    (
        "misconf",
        Trouble(
            what="It could not write its data to disk, and takes no writes until it can.",
            fix="Make room on its disk; its log says more. A BGSAVE that succeeds ends this.",
        ),
    ),
    (
        "busy running a script",
        Trouble(what="Somebody's script does not end.", fix="End it: SCRIPT KILL. Tiergate's own take microseconds."),
    ),
    ("noauth", _NO_PASSWORD),
    ("authentication required", _NO_PASSWORD),
    ("wrongpass", _WRONG_PASSWORD),
    ("invalid username-password", _WRONG_PASSWORD),
    ("noperm", _NO_PERMISSION),
    ("has no permissions", _NO_PERMISSION),
    (
        "max number of clients",
        Trouble(
            what="It takes no more connections.",
            fix="Raise its maxclients, or end connections that nobody needs (CLIENT LIST).",
        ),
    ),
    ("64-bit", Trouble(what="It cannot count as far as quotas go.", fix="Use a 64-bit server.")),
    ("connection refused", _NOBODY),
    ("connect call failed", _NOBODY),
    ("no such file", Trouble(what="There is no such socket.", fix=_ADDRESS)),
    ("closed the connection", _CLOSED),
    ("connection is closed", _CLOSED),
    ("connection closed", _CLOSED),
    ("connection reset", _CLOSED),
    ("connectionreset", _CLOSED),
    (
        "is being published",
        Trouble(what="It answers, and what it missed is still being published.", fix="Wait: it takes seconds."),
    ),
)
"""What a reason contains, in small letters, and what that means. The first that fits counts."""


def explain_trouble(reason: str) -> Trouble:
    """What to tell an operator of a `CacheUnavailable.reason`. Unknown ones are shown as they are."""
    folded = reason.casefold()
    known = next((trouble for part, trouble in _TROUBLES if part in folded), None)
    return known or Trouble(what=f"It cannot be used: {reason or 'it does not answer'}.", fix=_ADDRESS)
