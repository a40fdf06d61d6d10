"""Which server of a cluster has a key: the slot of its hash tag, and what servers say of slots. Pure.

Source: the Redis cluster specification.
"""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.core.cache_url import Host

SLOTS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Slots that one server has."""

    first: int
    last: int
    master: Host
    replicas: tuple[Host, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirection:
    """Another server that has a slot, or is about to have it."""

    is_asking: bool
    """The key is there already, the slot not yet: this one command is for it, the next one is not."""
    slot: int
    host: Host


def slot_of_tag(tag: str) -> int:
    """Slot of every key with this hash tag."""
    return crc_hqx(tag.encode(), 0) % SLOTS


def slot_of_key(key: str) -> int:
    """Slot of a key, with or without a hash tag."""
    _, _, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    return slot_of_tag(tag if tag and closing else key)


def slot_of_command(command: bytes) -> int:
    """Slot of a packed script call: of its first key, and so of all. Nothing before that holds a brace.

    Raises:
        ValueError: Its first key has no hash tag.
    """
    start = command.index(b"{") + 1
    return crc_hqx(command[start : command.index(b"}", start)], 0) % SLOTS


def read_slots(reply: list[Any], asked: Host) -> list[Range]:
    """What `CLUSTER SLOTS` returned.

    Args:
        reply: As it came.
        asked: Who said so: a server that does not know its own name is where it was found.

    Raises:
        ValueError: It is not such an answer, or says of no slot where it is.
    """
    try:
        ranges = [
            Range(
                first=first,
                last=last,
                master=_host(master, asked),
                replicas=tuple(_host(replica, asked) for replica in replicas),
            )
            for first, last, master, *replicas in reply
        ]
    except (TypeError, LookupError, ValueError) as error:
        raise ValueError("not an answer to CLUSTER SLOTS") from error
    if not ranges:
        raise ValueError("it knows of no slots")
    return ranges


def read_redirection(text: str, asked: Host) -> Redirection | None:
    """What `MOVED` and `ASK` say; None if it is neither.

    Args:
        text: `MOVED 3999 10.0.0.1:6379`.
        asked: As `read_slots`.
    """
    word, _, rest = text.partition(" ")
    slot, _, place = rest.partition(" ")
    host, _, port = place.rpartition(":")
    if word not in {"MOVED", "ASK"} or not (slot.isdecimal() and port.isdecimal()):
        return None
    return Redirection(is_asking=word == "ASK", slot=int(slot), host=named_host(host.strip("[]"), int(port), asked))


def named_host(name: str, port: int, asked: Host) -> Host:
    """Where a server is that another one has named.

    Args:
        name: Empty or `?` for one that announces no name: it is where the other one was found.
        port: Of the named one.
        asked: As `read_slots`.
    """
    return (name if name not in {"", "?"} else asked[0], port)


def _host(node: list[Any], asked: Host) -> Host:
    return named_host(node[0].decode() if node[0] else "", node[1], asked)
