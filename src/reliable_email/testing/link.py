"""One accepted connection at the level of bytes: buffered, under TLS or not, interruptible by the server's close.

Replies are held back until the server has to wait for input, so that the answers to a pipelined group travel
together (RFC 2920 §3.2).
"""

import contextlib
import selectors
import socket
import ssl
import struct
import threading
from collections.abc import Callable

from reliable_email.testing.records import ConnectionRecord, Ending

_RECEIVE_BYTES = 64 * 1024
_REMEMBERED_BYTES = 1024 * 1024
MAX_LINE_BYTES = 64 * 1024

_handshake = threading.local()  # a context is shared by threads, and its callback knows no connection


def _remember_name(sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    _handshake.server_name = name


class ConversationOver(Exception):
    """Ends a conversation from anywhere inside it."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.value)
        self.ending = ending


class Link:
    """The server's end of one connection.

    Attributes:
        reply_bytes: replies are written in pieces of so many bytes; None for all at once.
        is_recording: whether input is remembered in the connection's record.
        swallows_pipelined: input behind the first line of a segment is thrown away, as some old firewalls do.
    """

    def __init__(self, sock: socket.socket, record: ConnectionRecord, closing: threading.Event) -> None:
        self._sock = sock
        self._record = record
        self._closing = closing
        self._input = bytearray()
        self._output = bytearray()
        self._wake_lock = threading.Lock()
        self._waker, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock.fileno(), selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._is_open = True
        self.on_wake: Callable[[], None] = lambda: None
        self.on_input: Callable[[], None] = lambda: None
        self.reply_bytes: int | None = None
        self.is_recording = True
        self.swallows_pipelined = False

    # -- input

    def read_line(self) -> bytes:
        """The next line with its line end, or a piece of MAX_LINE_BYTES of a line that is longer."""
        while (end := self._input.find(b"\n")) < 0:
            if len(self._input) >= MAX_LINE_BYTES:
                return self._take(MAX_LINE_BYTES)
            self._receive(_RECEIVE_BYTES)
            if self.swallows_pipelined and (end := self._input.find(b"\n")) >= 0:
                del self._input[end + 1 :]
        return self._take(end + 1)

    def read_some(self, limit: int = _RECEIVE_BYTES) -> bytes:
        """Return at least one byte, at most `limit`."""
        if not self._input:
            self._receive(limit)
        return self._take(min(limit, len(self._input)))

    def give_back(self, data: bytes) -> None:
        """Put back what was read too far."""
        self._input[:0] = data

    def _take(self, count: int) -> bytes:
        data = bytes(self._input[:count])
        del self._input[:count]
        return data

    def _receive(self, limit: int) -> None:
        self.flush()
        self._wait_readable()
        try:
            data = self._sock.recv(limit)
        except ssl.SSLEOFError as error:
            raise ConversationOver(self._stopped_or(Ending.CLIENT_CLOSED)) from error
        except (ConnectionError, ssl.SSLError) as error:
            raise ConversationOver(self._stopped_or(Ending.CLIENT_RESET)) from error
        except OSError as error:
            raise ConversationOver(self._stopped_or(Ending.CLIENT_CLOSED)) from error
        if not data:
            raise ConversationOver(self._stopped_or(Ending.CLIENT_CLOSED))
        if self.is_recording:
            self._record.raw += data
        self._input += data
        self.on_input()

    def _wait_readable(self) -> None:
        while not (isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()):
            ready = [key.fileobj for key, _ in self._selector.select()]
            if self._woken in ready:
                self._wake()
            elif ready:
                return

    def _wake(self) -> None:
        self._woken.recv(1)
        if self._closing.is_set():
            raise ConversationOver(Ending.STOPPED)
        self.on_wake()
        self.flush()

    def _stopped_or(self, ending: Ending) -> Ending:
        return Ending.STOPPED if self._closing.is_set() else ending

    # -- output

    def write(self, data: bytes) -> None:
        """Add to what is to be sent."""
        self._output += data

    def flush(self) -> None:
        """Send what was written."""
        if not self._output:
            return
        data = bytes(self._output)
        self._output.clear()
        step = self.reply_bytes or len(data)
        for start in range(0, len(data), step):
            self._send(data[start : start + step])

    def _send(self, data: bytes) -> None:
        if len(self._record.sent) < _REMEMBERED_BYTES:
            self._record.sent += data
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise ConversationOver(self._stopped_or(Ending.CLIENT_RESET)) from error

    def wait(self, seconds: float | None) -> None:
        """Let time pass, or end the conversation when the server is closed meanwhile."""
        if self._closing.wait(seconds):
            raise ConversationOver(Ending.STOPPED)

    def wait_for_order(self) -> None:
        """Read nothing until the link is woken and `on_wake` has done what it does."""
        self.flush()
        self._selector.unregister(self._sock)
        try:
            self._selector.select()
        finally:
            self._selector.register(self._sock, selectors.EVENT_READ)
        self._wake()

    # -- TLS

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands; what was received in plaintext is forgotten (RFC 3207 §4.2)."""
        self.flush()
        self._input.clear()
        try:
            if context.sni_callback is None:
                context.sni_callback = _remember_name
            _handshake.server_name = None
            self._sock = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
            self._sock.do_handshake()
        except OSError as error:
            self._record.tls_error = getattr(error, "reason", None) or str(error) or type(error).__name__
            raise ConversationOver(self._stopped_or(Ending.TLS_FAILED)) from error
        finally:
            self._record.server_name = getattr(_handshake, "server_name", None)
        self._record.is_tls = True
        self._record.tls_version = self._sock.version()

    # -- the end

    def say_no_more(self, *, close_notify: bool) -> None:
        """Send what was written, then the end of the stream."""
        with contextlib.suppress(ConversationOver):
            self.flush()
        with contextlib.suppress(OSError, ValueError):
            if close_notify and isinstance(self._sock, ssl.SSLSocket):
                self._sock.setblocking(False)
                try:
                    self._sock.unwrap()
                finally:
                    self._sock.setblocking(True)
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def drain(self) -> None:
        """Read and discard until the client has closed too.

        Closing at once would let the kernel answer unread input by a reset, which may destroy replies on their way.
        """
        with contextlib.suppress(OSError):
            while not self._closing.is_set():
                ready = [key.fileobj for key, _ in self._selector.select()]
                if self._woken in ready:
                    self._woken.recv(1)
                elif not socket.socket.recv(self._sock, _RECEIVE_BYTES):
                    break

    def abort(self) -> None:
        """Reset the connection."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Give everything back to the system."""
        with self._wake_lock:
            self._is_open = False
            self._selector.close()
            for sock in (self._sock, self._waker, self._woken):
                with contextlib.suppress(OSError):
                    sock.close()

    # -- called from other threads

    def wake(self) -> bool:
        """Interrupt a wait for input; False where the link is closed already."""
        with self._wake_lock:
            if self._is_open:
                self._waker.send(b"w")
            return self._is_open

    def interrupt(self) -> None:
        """Interrupt whatever the link is doing, for good."""
        with self._wake_lock:
            if not self._is_open:
                return
            self._waker.send(b"w")
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would drop the TLS state under the feet of the other thread.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
