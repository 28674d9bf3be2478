"""A peer for handshakes: a loopback listener that does one thing with every connection."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator

Act = Callable[[socket.socket], None]


@contextlib.contextmanager
def peer(act: Act) -> Iterator[tuple[str, int]]:
    """Listen on a free port; every connection gets a thread that runs `act` and closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock:
            act(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(5)
            connections.append(sock)
            threads.append(threading.Thread(target=serve, args=(sock,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for sock in connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


def tls(context: ssl.SSLContext) -> Act:
    """A handshake as server, one line of greeting, and then whatever the client wants."""

    def act(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as wrapped:
            wrapped.sendall(b"220 hello\r\n")
            while wrapped.recv(1024):
                pass

    return act


def says(data: bytes) -> Act:
    """Plaintext, then nothing more."""

    def act(sock: socket.socket) -> None:
        sock.sendall(data)
        while sock.recv(1024):
            pass

    return act


def closes(sock: socket.socket) -> None:
    """Read the client's hello and close in good order."""
    sock.recv(4096)


def resets(sock: socket.socket) -> None:
    """Read the client's hello and reset the connection."""
    sock.recv(4096)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def is_silent(sock: socket.socket) -> None:
    """Read for ever."""
    while sock.recv(1024):
        pass
