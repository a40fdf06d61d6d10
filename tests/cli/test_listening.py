from __future__ import annotations

import socket
import threading

import click
import pytest

from gateway.cli.listening import listen


def test_a_listener_takes_connections_before_anybody_serves() -> None:
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()[:2], timeout=5):
        pass


def test_a_name_is_resolved() -> None:
    with listen("localhost", 0) as listener:
        assert listener.getsockname()[0] in {"127.0.0.1", "::1"}


def test_all_addresses_of_both_families_can_be_listened_on() -> None:
    if not socket.has_dualstack_ipv6():
        with listen("0.0.0.0", 0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            return
    with listen("::", 0) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5):
        pass


def test_a_port_in_use_is_refused_even_while_nobody_serves_there() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(click.ClickException, match="something listens there already"):
        listen("127.0.0.1", first.getsockname()[1], patience_s=0.3)


def test_a_port_that_is_let_go_of_within_the_patience_is_taken() -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    timer = threading.Timer(0.3, first.close)
    timer.start()
    with listen("127.0.0.1", port) as second:
        assert second.getsockname()[1] == port
    timer.join()


def test_an_address_of_another_machine_is_refused_with_the_setting_to_correct() -> None:
    with pytest.raises(click.ClickException, match="Correct TIERGATE_HOST"):
        listen("192.0.2.1", 0)


def test_a_name_that_does_not_exist_is_refused_with_the_setting_to_correct() -> None:
    with pytest.raises(click.ClickException, match="Correct TIERGATE_HOST"):
        listen("no-such-host.invalid", 0)
