"""The socket's own side of the wire."""

import socket

import pytest

from reliable_email.smtp.driver.wire import Wire


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="a wish that only Linux knows")
def test_what_was_read_can_be_acknowledged_at_once() -> None:
    """The system forgets the wish with the read that follows, so it is made again; another socket has no such wish."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        wire = Wire(near)
        wire.acknowledge()
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    one, other = socket.socketpair()
    with one, other:
        Wire(one).acknowledge()
