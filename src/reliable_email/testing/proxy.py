"""A TCP proxy between a client and a server, which cuts the connection at an exact byte, or makes the way longer.

    with ScriptedServer() as server, CuttingProxy(server.port, server_bytes=100, how="reset") as proxy:
        ...                      # the client connects to proxy.port and never sees the 101st byte of the server

Cut after every byte of both directions, and a client has met each way in which a network can fail it.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any, Literal, Self

from reliable_email.records import dataclass

_RECEIVE_BYTES = 64 * 1024
_JOIN_SECONDS = 5.0
Cut = Literal["close", "reset"]


@dataclass(slots=True, kw_only=True)
class Flow:
    """The traffic of one connection.

    Attributes:
        number: from 1, in the order in which they were accepted.
        client_bytes: forwarded from the client to the server.
        server_bytes: forwarded from the server to the client.
        turns: how often the client spoke after the server had spoken (or first of all): its round trips, if each
            side says in one go what it has to say.
        was_cut: whether the proxy cut it.
        is_over: whether it has ended.
    """

    number: int
    client_bytes: int = 0
    server_bytes: int = 0
    turns: int = 0
    was_cut: bool = False
    is_over: bool = False


class CuttingProxy:
    """A proxy on a free loopback port; a context manager.

    Args:
        target_port: where the server listens.
        target_host: the server's address.
        client_bytes: cut as soon as so many bytes of the client were forwarded; None for never.
        server_bytes: the same of the server's bytes.
        how: "close" ends both directions in order, "reset" resets both connections.
        cuts: how many connections are cut, the first ones; None for all.
        latency: seconds by which each direction is delayed; what is on its way is not limited.
    """

    def __init__(
        self,
        target_port: int,
        *,
        target_host: str = "127.0.0.1",
        client_bytes: int | None = None,
        server_bytes: int | None = None,
        how: Cut = "close",
        cuts: int | None = None,
        latency: float = 0.0,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.latency = latency
        self._target = (target_host, target_port)
        self._limits = (client_bytes, server_bytes)
        self._how = how
        self._cuts = cuts
        self._condition = threading.Condition()
        self._flows: list[Flow] = []
        self._threads: list[threading.Thread] = []
        self._wakers: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Listen; `port` is known from here on."""
        listener = socket.create_server((self.host, self.port), backlog=64)
        self.port = listener.getsockname()[1]
        self._spawn(self._accept, listener)
        return self

    def close(self) -> None:
        """Stop listening, reset what is open, and wait for the threads."""
        with self._condition:
            wakers, self._wakers = self._wakers, []
            threads, self._threads = self._threads, []
        for waker in wakers:
            waker.close()
        for thread in threads:
            thread.join(_JOIN_SECONDS)

    @property
    def flows(self) -> list[Flow]:
        """Every connection, in the order in which they were accepted."""
        with self._condition:
            return list(self._flows)

    @property
    def client_bytes(self) -> int:
        """Bytes of the clients that were forwarded, of all connections."""
        return sum(flow.client_bytes for flow in self.flows)

    @property
    def server_bytes(self) -> int:
        """Bytes of the server that were forwarded, of all connections."""
        return sum(flow.server_bytes for flow in self.flows)

    @property
    def turns(self) -> int:
        """Turns of all connections."""
        return sum(flow.turns for flow in self.flows)

    def wait_until_over(self, count: int = 1, timeout: float = 5.0) -> list[Flow]:
        """Wait until so many connections have ended; return all flows."""
        with self._condition:
            if not self._condition.wait_for(lambda: sum(flow.is_over for flow in self._flows) >= count, timeout):
                raise AssertionError(f"not over within {timeout} s: {self._flows}")
        return self.flows

    def _spawn(self, target: Any, *arguments: Any) -> None:
        waker, woken = socket.socketpair()
        thread = threading.Thread(target=target, args=(*arguments, woken), name=f"proxy-{self.port}", daemon=True)
        with self._condition:
            # Those that have ended are forgotten, so that a long run keeps no descriptors.
            alive = [index for index, one in enumerate(self._threads) if one.is_alive()]
            for index in set(range(len(self._threads))).difference(alive):
                self._wakers[index].close()
            self._threads = [self._threads[index] for index in alive] + [thread]
            self._wakers = [self._wakers[index] for index in alive] + [waker]
            thread.start()

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with listener, woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not any(key.fileobj is woken for key, _ in selector.select()):
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    _abort(client)
                    continue
                with self._condition:
                    flow = Flow(number=len(self._flows) + 1)
                    self._flows.append(flow)
                self._spawn(self._forward, client, server, flow)

    def _forward(self, client: socket.socket, server: socket.socket, flow: Flow, woken: socket.socket) -> None:
        is_cut = self._cuts is None or flow.number <= self._cuts
        limits = self._limits if is_cut else (None, None)
        with woken, client, server, selectors.DefaultSelector() as selector:
            relay = _Relay(client, server, limits, self.latency, flow, selector, woken)
            reached = relay.run()
            flow.was_cut = reached
            if reached and self._how == "close":
                _end_in_order(client, server, woken)
            elif reached or relay.was_reset or relay.was_stopped:
                _abort(client)
                _abort(server)
        with self._condition:
            flow.is_over = True
            self._condition.notify_all()


class _Pipe:
    """One direction: what was read and when it is due."""

    def __init__(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        self.source = source
        self.sink = sink
        self.limit = limit
        self.read_count = 0
        self.sent_count = 0
        self.queue: deque[tuple[float, memoryview]] = deque()  # an empty piece is the end of the stream
        self.has_read_all = False
        self.is_over = False

    @property
    def is_at_limit(self) -> bool:
        return self.limit is not None and self.sent_count >= self.limit

    def room(self) -> int:
        """Return the number of bytes that may still be read."""
        return _RECEIVE_BYTES if self.limit is None else min(_RECEIVE_BYTES, self.limit - self.read_count)


class _Relay:
    """A relay in both directions, until both have ended, a limit is reached, or one side resets."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        limits: tuple[int | None, int | None],
        latency: float,
        flow: Flow,
        selector: selectors.BaseSelector,
        woken: socket.socket,
    ) -> None:
        self._up = _Pipe(client, server, limits[0])
        self._down = _Pipe(server, client, limits[1])
        self._latency = latency
        self._flow = flow
        self._selector = selector
        self._woken = woken
        self._client_spoke_last = False
        self.was_reset = False
        self.was_stopped = False

    def run(self) -> bool:
        """Forward; True when a limit was reached."""
        for pipe in (self._up, self._down):
            pipe.source.setblocking(False)
            pipe.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            try:
                for pipe in (self._up, self._down):
                    self._send_due(pipe)
                    if pipe.is_at_limit:
                        return True
                if self._up.is_over and self._down.is_over:
                    return False
                self._wait()
                if self.was_stopped:
                    return False
                for pipe in (self._up, self._down):
                    self._read(pipe)
            except OSError:
                self.was_reset = True
                return False

    def _read(self, pipe: _Pipe) -> None:
        if pipe.has_read_all or pipe.room() <= 0:
            return
        try:
            data = pipe.source.recv(pipe.room())
        except BlockingIOError:
            return
        pipe.read_count += len(data)
        pipe.has_read_all = not data
        pipe.queue.append((time.monotonic() + self._latency, memoryview(data)))
        if data:
            is_client = pipe is self._up
            self._flow.turns += is_client and not self._client_spoke_last
            self._client_spoke_last = is_client

    def _send_due(self, pipe: _Pipe) -> None:
        while pipe.queue and pipe.queue[0][0] <= time.monotonic():
            due, data = pipe.queue.popleft()
            if not data:
                pipe.is_over = True
                with contextlib.suppress(OSError):
                    pipe.sink.shutdown(socket.SHUT_WR)
                return
            try:
                count = pipe.sink.send(data)
            except BlockingIOError:
                count = 0
            pipe.sent_count += count
            if pipe is self._up:
                self._flow.client_bytes += count
            else:
                self._flow.server_bytes += count
            if count < len(data):
                pipe.queue.appendleft((due, data[count:]))
                return

    def _wait(self) -> None:
        now = time.monotonic()
        wanted: dict[socket.socket, int] = {}
        timeout: float | None = None
        for pipe in (self._up, self._down):
            if not pipe.has_read_all and pipe.room() > 0:
                wanted[pipe.source] = wanted.get(pipe.source, 0) | selectors.EVENT_READ
            if pipe.queue:
                left = pipe.queue[0][0] - now
                if left <= 0:  # due, and the sink was full
                    wanted[pipe.sink] = wanted.get(pipe.sink, 0) | selectors.EVENT_WRITE
                else:
                    timeout = left if timeout is None else min(timeout, left)
        for sock in (self._up.source, self._down.source):
            self._watch(sock, wanted.get(sock, 0))
        self.was_stopped = any(key.fileobj is self._woken for key, _ in self._selector.select(timeout))

    def _watch(self, sock: socket.socket, events: int) -> None:
        known = self._selector.get_map().get(sock)
        if known is None and events:
            self._selector.register(sock, events)
        elif known is not None and not events:
            self._selector.unregister(sock)
        elif known is not None and known.events != events:
            self._selector.modify(sock, events)


def _end_in_order(client: socket.socket, server: socket.socket, woken: socket.socket) -> None:
    """Say the end of the stream to both, and discard what they still say, until they have closed too."""
    with selectors.DefaultSelector() as selector:
        selector.register(woken, selectors.EVENT_READ)
        for sock in (client, server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            selector.register(sock, selectors.EVENT_READ)
        open_count = 2
        while open_count:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    return
                sock = client if key.fileobj is client else server
                try:
                    is_over = not sock.recv(_RECEIVE_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    is_over = True
                if is_over:
                    selector.unregister(sock)
                    open_count -= 1


def _abort(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
