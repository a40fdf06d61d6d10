"""A line to a cluster leads nobody past it, in whatever pieces the servers' answers come."""

import pytest

from tests.fakes.cluster_line import ClusterLine, Whole

SLOTS = (
    b"*1\r\n*4\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:7001\r\n$3\r\nabc\r\n*0\r\n"
    b"*4\r\n$9\r\n127.0.0.1\r\n:7002\r\n$3\r\ndef\r\n*0\r\n"
)
REPLIES = {
    "slots": SLOTS,
    "moved": b"-MOVED 1 127.0.0.1:7001\r\n",
    "others": b"$-1\r\n*-1\r\n+OK\r\n:1\r\n%1\r\n+a\r\n$3\r\n?\r\n\r\n,1.5\r\n_\r\n",
}


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_name_is_changed_also_where_it_comes_in_pieces(reply: bytes, size: int) -> None:
    line = ClusterLine([7001, 7002])
    whole = Whole(line._change)
    heard = b"".join(whole.hear(reply[start : start + size]) for start in range(0, len(reply), size))
    assert heard == line._change(reply)
    assert b"7001" not in heard
    assert b"7002" not in heard
