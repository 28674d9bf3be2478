"""A way to a broker that can hang and be down, while the broker itself is left alone."""

import contextlib
import selectors
import socket
import threading
from types import TracebackType
from typing import Self


class Gate:
    """Forwards a free loopback port to another one; a context manager.

    Attributes:
        port: where it listens.
        hangs: takes connections and bytes, and hands none of them on.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.hangs = threading.Event()
        self._is_over = threading.Event()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener: socket.socket | None = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self.shut()

    def shut(self) -> None:
        """Refuse connections, and reset those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                one.close()

    def open(self) -> None:
        """Take connections again."""
        if self._listener is None:
            self._listener = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        listener.setblocking(False)
        return listener

    def _run(self) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(OSError, ValueError):  # what was shut meanwhile
                self._turn()

    def _turn(self) -> None:
        with selectors.DefaultSelector() as selector:
            listener, pairs = self._listener, list(self._pairs)
            if listener is not None:
                selector.register(listener, selectors.EVENT_READ)
            if not self.hangs.is_set():
                for client, server in pairs:
                    selector.register(client, selectors.EVENT_READ, (client, server))
                    selector.register(server, selectors.EVENT_READ, (server, client))
            if not selector.get_map():
                self._is_over.wait(0.05)
                return
            for key, _ in selector.select(0.05):
                if key.data is None:
                    client, _ = listener.accept()  # type: ignore[union-attr]
                    self._pairs.append((client, socket.create_connection(("127.0.0.1", self._target))))
                    continue
                source, sink = key.data
                piece = source.recv(65536)
                if piece:
                    sink.sendall(piece)
                    continue
                self._pairs = [pair for pair in self._pairs if source not in pair]
                source.close()
                sink.close()
