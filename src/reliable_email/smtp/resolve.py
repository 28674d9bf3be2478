"""Host names to addresses, in bounded time: `socket.getaddrinfo`, called when the connection is made.

A call that hangs cannot be stopped, only left behind. Callers who ask for the same name meanwhile wait for the same
call, and their number is limited, so that a dead resolver costs a few threads and not one per message.
"""

import contextlib
import ipaddress
import os
import socket
import threading
import time
from concurrent.futures import Future
from typing import Any, cast

from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.stages import Stage

MAX_LOOKUPS = 32
# A call that has been hanging for so long is not waited for again: its thread may never come back.
JOINABLE_SECONDS = 10.0

AddressInfo = tuple[int, int, int, str, Any]

_NOT_FOUND = {code for name in ("EAI_NONAME", "EAI_NODATA") if (code := getattr(socket, name, None)) is not None}


class _Lookup:
    """One call of the resolver, with everybody who waits for it."""

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.answer: Future[list[AddressInfo]] = Future()


_lock = threading.Lock()
_running: dict[tuple[str, int], _Lookup] = {}
_thread_count = 0


def bare_host(host: str) -> str:
    """The host without IPv6 brackets and the dot of a fully qualified name, which neither resolver nor TLS want."""
    host = host.strip()
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1].removeprefix("IPv6:")
    return host.removesuffix(".")


def address_text(address: object) -> str:
    """A socket address for people: "192.0.2.1:587", "[2001:db8::1]:587"."""
    if not isinstance(address, tuple) or len(address) < 2:
        return str(address)
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def is_numeric(host: str) -> bool:
    """Whether it is an IP address (perhaps with a zone), so that there is nothing to look up."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(bare_host(host))
        return True
    return False


def resolve(host: str, port: int, *, timeout: float) -> list[AddressInfo]:
    """The addresses of a host, as `socket.getaddrinfo` gives them for TCP, never empty.

    Raises:
        WireError: HOST_NOT_FOUND where the name does not exist, RESOLVER_FAILED where that could not be found out.
    """
    name = bare_host(host)
    if not name:
        raise _failed(FailureKind.HOST_NOT_FOUND, "no host name is given (the option `host`)")
    try:
        found = _call(name, port) if is_numeric(name) else _call_within(name, port, timeout)
    except TimeoutError:
        raise _failed(
            FailureKind.RESOLVER_FAILED,
            f"the resolver did not answer within {timeout:.1f} s when asked for {name}",
        ) from None
    except socket.gaierror as error:
        raise _refused(name, error) from error
    except (
        OSError,
        ValueError,
    ) as error:  # ValueError: a label over 63 characters, a NUL, no valid IDN
        kind = FailureKind.HOST_NOT_FOUND if isinstance(error, ValueError) else FailureKind.RESOLVER_FAILED
        raise _failed(kind, f"{name!r} cannot be looked up: {error}") from error
    addresses = list(dict.fromkeys(info for info in found if info[1] in (socket.SOCK_STREAM, 0)))
    if not addresses:
        raise _failed(FailureKind.HOST_NOT_FOUND, f"{name} has no address")
    return addresses


def reset() -> None:
    """Wait for no lookup that is under way now."""
    with _lock:
        _running.clear()


def _call(name: str, port: int) -> list[AddressInfo]:
    return cast(list[AddressInfo], socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))


def _call_within(name: str, port: int, timeout: float) -> list[AddressInfo]:
    global _thread_count
    key = name, port
    with _lock:
        lookup = _running.get(key)
        is_new = lookup is None or time.monotonic() - lookup.began_at > JOINABLE_SECONDS
        if lookup is None or is_new:
            if _thread_count >= MAX_LOOKUPS:
                raise _failed(
                    FailureKind.RESOLVER_FAILED,
                    f"{_thread_count} earlier lookups still wait for the resolver, so {name} was not asked for",
                )
            lookup = _running[key] = _Lookup()
            _thread_count += 1
    if is_new:
        thread = threading.Thread(target=_work, args=(lookup, key), name=f"resolve {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is shutting down, or no thread is left: better unbounded than not at all.
            _work(lookup, key)
    return lookup.answer.result(timeout)


def _work(lookup: _Lookup, key: tuple[str, int]) -> None:
    global _thread_count
    try:
        lookup.answer.set_result(_call(*key))
    except BaseException as error:  # noqa: BLE001 - handed to those who wait
        lookup.answer.set_exception(error)
    finally:
        with _lock:
            _thread_count -= 1
            if _running.get(key) is lookup:
                del _running[key]


def _refused(name: str, error: socket.gaierror) -> WireError:
    if error.errno in _NOT_FOUND:
        return _failed(
            FailureKind.HOST_NOT_FOUND,
            f"the host {name} does not exist ({error.strerror}); check its spelling",
        )
    return _failed(
        FailureKind.RESOLVER_FAILED,
        f"the resolver could not say where {name} is ({error.strerror}); is DNS reachable?",
    )


def _failed(kind: FailureKind, detail: str) -> WireError:
    return WireError(WireFailure(stage=Stage.RESOLVE, kind=kind, detail=detail))


def _after_fork() -> None:
    # The threads stayed in the parent, and with them whoever held the lock.
    global _lock, _running, _thread_count
    _lock, _running, _thread_count = threading.Lock(), {}, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
