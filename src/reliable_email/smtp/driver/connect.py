"""The connection to a host name: resolving within bounds, and happy eyeballs (RFC 8305).

`getaddrinfo` cannot be interrupted, so it runs in a daemon thread that is left behind when it hangs. Addresses are
tried 250 ms apart, families taking turns, and the first that answers wins: one dead address costs a quarter of a
second, not the whole budget.
"""

import errno
import os
import selectors
import socket
import time
from collections import deque
from itertools import zip_longest

from reliable_email.process_state import remember
from reliable_email.records import dataclass
from reliable_email.smtp.deadline import Deadline
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.resolve import AddressInfo, address_text, bare_host, resolve
from reliable_email.smtp.stages import Stage

__all__ = ["OpenedSocket", "open_socket", "reset", "resolve"]

ATTEMPT_DELAY_SECONDS = 0.25  # RFC 8305 §5
REMEMBERED_SECONDS = 300.0
MAX_REMEMBERED = 256

_IN_PROGRESS = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN}

# The address that answered last, tried first next time. Replaced by whole entries, so that no lock is needed.
_last_good: dict[tuple[str, int], tuple[object, float]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedSocket:
    """A connected, non-blocking socket.

    Attributes:
        peer: "address:port" that answered.
        stage_seconds: what RESOLVE and CONNECT took.
    """

    socket: socket.socket
    peer: str
    stage_seconds: dict[Stage, float]


def open_socket(host: str, port: int, *, deadline: Deadline) -> OpenedSocket:
    """Connect to the first address of the host that answers.

    Raises:
        WireError: at RESOLVE (the name is unknown, or nobody could say) or at CONNECT (every address, and why not).
    """
    began_at = time.monotonic()
    addresses = resolve(host, port, timeout=deadline.stage_seconds())
    resolved_at = time.monotonic()
    race = _Race(_in_order(addresses, (bare_host(host), port)), host=host)
    try:
        sock = race.run(deadline.stage_seconds())
    finally:
        race.close_losers()
    connected_at = time.monotonic()
    try:
        remote = sock.getpeername()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError as error:
        sock.close()
        failure = WireFailure(
            stage=Stage.CONNECT,
            kind=FailureKind.DISCONNECTED,
            detail=f"{host} took the connection and closed it at once: {_words(error)}",
        )
        raise WireError(failure) from error
    _remember((bare_host(host), port), race.winner, connected_at)
    return OpenedSocket(
        socket=sock,
        peer=address_text(remote),
        stage_seconds={
            Stage.RESOLVE: resolved_at - began_at,
            Stage.CONNECT: connected_at - resolved_at,
        },
    )


def reset() -> None:
    """Forget which addresses answered."""
    _last_good.clear()


class _Race:
    """Connection attempts that overlap; `run` gives the socket of the first one that is through."""

    def __init__(self, addresses: list[AddressInfo], *, host: str) -> None:
        self.winner: object = None
        self._host = host
        self._waiting = deque(addresses)
        self._running: dict[socket.socket, object] = {}
        self._errors: list[tuple[str, str]] = []
        self._last_error: OSError | None = None
        self._selector = selectors.DefaultSelector()

    def run(self, seconds: float) -> socket.socket:
        """The winner, non-blocking.

        Raises:
            WireError: no address answered in time.
        """
        began_at = time.monotonic()
        ends_at = began_at + seconds
        next_start_at = began_at
        while True:
            now = time.monotonic()
            if now >= ends_at:
                raise self._timed_out(now - began_at)
            if self._waiting and (now >= next_start_at or not self._running):
                sock = self._start(self._waiting.popleft())
                if sock is not None:
                    return sock
                next_start_at = now + ATTEMPT_DELAY_SECONDS if self._running else now
                continue
            if not self._running:
                raise self._all_failed()
            wake_at = min(ends_at, next_start_at) if self._waiting else ends_at
            for key, _ in self._selector.select(wake_at - now):
                sock = self._conclude(key.fileobj)  # type: ignore[arg-type]
                if sock is not None:
                    return sock
                next_start_at = time.monotonic()  # a refusal is an answer: the next one need not wait

    def close_losers(self) -> None:
        """Close every attempt but the winner's."""
        for sock in self._running:
            sock.close()
        self._running.clear()
        self._selector.close()

    def _start(self, info: AddressInfo) -> socket.socket | None:
        family, kind, protocol, _, address = info
        try:
            sock = socket.socket(family, kind or socket.SOCK_STREAM, protocol)
        except OSError as error:
            self._note(address, error)
            return None
        try:
            sock.setblocking(False)
            code = sock.connect_ex(address)
        except (OSError, OverflowError, TypeError) as error:
            sock.close()
            self._note(address, error if isinstance(error, OSError) else OSError(str(error)))
            return None
        self._running[sock] = address
        if code in _IN_PROGRESS:
            self._selector.register(sock, selectors.EVENT_WRITE)
            return None
        return self._settle(sock, code)

    def _conclude(self, sock: socket.socket) -> socket.socket | None:
        self._selector.unregister(sock)
        return self._settle(sock, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _settle(self, sock: socket.socket, code: int) -> socket.socket | None:
        address = self._running.pop(sock)
        if code == 0 and _is_its_own_peer(sock):
            code = errno.ECONNREFUSED
        if code == 0:
            self.winner = address
            return sock
        sock.close()
        self._note(address, OSError(code, os.strerror(code)))
        return None

    def _note(self, address: object, error: OSError) -> None:
        self._errors.append((address_text(address), _words(error)))
        self._last_error = error

    def _all_failed(self) -> WireError:
        listed = "; ".join(f"{address}: {words}" for address, words in self._errors)
        failure = WireFailure(
            stage=Stage.CONNECT,
            kind=FailureKind.CONNECT_FAILED,
            detail=f"no address of {self._host} took the connection ({listed})",
        )
        error = WireError(failure)
        error.__cause__ = self._last_error
        return error

    def _timed_out(self, waited: float) -> WireError:
        silent = [(address_text(address), "no answer") for address in self._running.values()]
        untried = [(address_text(info[4]), "not tried yet") for info in self._waiting]
        listed = "; ".join(f"{address}: {words}" for address, words in [*self._errors, *silent, *untried])
        failure = WireFailure(
            stage=Stage.CONNECT,
            kind=FailureKind.TIMEOUT,
            detail=f"{self._host} did not answer within {waited:.1f} s ({listed}); a firewall that drops packets is "
            f"silent like this (many networks block port 25, and some 465 and 587)",
        )
        return WireError(failure)


def _in_order(addresses: list[AddressInfo], target: tuple[str, int]) -> list[AddressInfo]:
    """Families taking turns, in the resolver's order (RFC 6724); what answered last comes first."""
    first = addresses[0][0]
    same = [info for info in addresses if info[0] == first]
    other = [info for info in addresses if info[0] != first]
    ordered = [info for pair in zip_longest(same, other) for info in pair if info is not None]
    remembered, at = _last_good.get(target, (None, 0.0))
    if remembered is not None and time.monotonic() - at < REMEMBERED_SECONDS:
        ordered.sort(key=lambda info: info[4] != remembered)
    return ordered


def _remember(target: tuple[str, int], address: object, now: float) -> None:
    if len(_last_good) >= MAX_REMEMBERED:
        _last_good.clear()
    _last_good[target] = (address, now)


def _is_its_own_peer(sock: socket.socket) -> bool:
    # Connecting to a free loopback port out of the ephemeral range may meet itself (simultaneous open, RFC 9293 §3.5).
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return False


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


remember(__name__, reset=reset)
