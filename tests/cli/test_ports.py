from __future__ import annotations

import socket
import sys

import pytest

from gateway.cli.ports import free_port

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other kernels keep a bound port from everybody")


def test_nobody_answers_on_a_free_port():
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port()))


@on_linux
def test_a_server_can_listen_on_it_again_and_again():
    port = free_port()
    for _ in range(2):
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass


@on_linux
def test_who_asks_for_any_port_does_not_get_it():
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
