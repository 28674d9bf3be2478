"""A non-blocking socket, plain or TLS, that says exactly what it took and how it ended.

Reads and writes never block and never raise an `OSError`: the end of the connection is a `WireLost` with a kind and
a sentence. Waiting is a step of its own, so that one loop can do both directions (a client that only writes while the
server only writes is a deadlock, RFC 2920 §3.1).
"""

import contextlib
import select
import socket
import ssl
import time

from reliable_email.smtp.failures import FailureKind

READ_BYTES = 65536
_QUICK_ACKNOWLEDGEMENT: int | None = getattr(socket, "TCP_QUICKACK", None)


class WireLost(Exception):
    """The connection ended."""

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Wire:
    """A non-blocking socket, plain or TLS. The wire owns the socket."""

    __slots__ = ("_read_wants_write", "_socket", "_write_wants_read")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        # TLS may need the other direction first (key update, a handshake message behind the handshake).
        self._read_wants_write = False
        self._write_wants_read = False

    @property
    def handle(self) -> socket.socket:
        """The socket, for the TLS handshake that replaces it."""
        return self._socket

    def replace(self, sock: socket.socket) -> None:
        """Go on with the socket that the TLS handshake made of it."""
        self._socket = sock

    @property
    def reads_ahead(self) -> bool:
        """True if received bytes may be buffered where `wait` does not see them: TLS decrypts whole records."""
        return isinstance(self._socket, ssl.SSLSocket)

    def read(self) -> bytes | None:
        """Return the received bytes; None if there are none yet.

        Raises:
            WireLost: end of stream, reset, or a TLS alert.
        """
        self._read_wants_write = False
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError:
            self._read_wants_write = True
            return None
        except OSError as error:
            raise _lost(error) from error
        if not data:
            raise WireLost(FailureKind.DISCONNECTED, "the server closed the connection")
        return data

    def write(self, data: bytes) -> int:
        """Hand bytes to the kernel; how many it took. With TLS they count when their record is out as a whole.

        Raises:
            WireLost: the connection is gone; nothing of this call was taken.
        """
        self._write_wants_read = False
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError):
            return 0
        except ssl.SSLWantReadError:
            self._write_wants_read = True
            return 0
        except OSError as error:
            raise _lost(error) from error

    def waits_for_write(self, *, writing: bool) -> bool:
        """Return whether to wait for room to write, besides bytes to read; `writing` if more is to be sent."""
        return (writing and not self._write_wants_read) or self._read_wants_write

    def wait(self, *, writing: bool, until: float) -> bool:
        """Sleep until a read or, with `writing`, a write may get on; False when the time is up first."""
        seconds = until - time.monotonic()
        for_write = self.waits_for_write(writing=writing)
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if for_write else 0))
            return bool(poll.poll(max(0, seconds) * 1000))
        readable, writable, _ = select.select(  # pragma: no cover - platforms without poll
            [self._socket], [self._socket] if for_write else [], [], max(0, seconds)
        )
        return bool(readable or writable)  # pragma: no cover

    def acknowledge(self) -> None:
        """Acknowledge what was read at once, where the system can.

        A server that writes each reply alone, without TCP_NODELAY, holds the next one back until then, and the system
        takes its time where this side has nothing to say: 40 ms a message on Linux, which forgets the wish with every
        read.
        """
        if _QUICK_ACKNOWLEDGEMENT is not None:
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGEMENT, 1)

    def close(self) -> None:
        """Close the descriptor. Nothing is sent: no TLS close, which would need the peer."""
        self._socket.close()


def _lost(error: OSError) -> WireLost:
    if isinstance(error, ssl.SSLZeroReturnError | ssl.SSLEOFError):
        return WireLost(FailureKind.DISCONNECTED, "the server closed the connection")
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or str(error)).replace("_", " ").lower()
        if "certificate required" in reason or "handshake failure" in reason:
            # TLS 1.3 reports a missing client certificate only here, after the handshake (RFC 8446 §4.4.2.4).
            return WireLost(FailureKind.TLS_HANDSHAKE, "the server demands a client certificate (ssl_certfile)")
        return WireLost(FailureKind.TLS_HANDSHAKE, f"TLS failed: {reason}")
    if isinstance(error, TimeoutError):
        return WireLost(FailureKind.TIMEOUT, "the network gave up on the connection (ETIMEDOUT)")
    words = (error.strerror or str(error)).lower()
    return WireLost(FailureKind.DISCONNECTED, f"the connection broke: {words}")
