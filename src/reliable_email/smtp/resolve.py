"""Host names to addresses, in bounded time: `socket.getaddrinfo`, called when the connection is made.

A call that hangs cannot be stopped, only left behind (see `shared_calls`).
"""

import contextlib
import ipaddress
import socket
from typing import Any, cast

from reliable_email.process_state import remember
from reliable_email.smtp.failures import FailureKind, WireError, WireFailure
from reliable_email.smtp.shared_calls import SharedCalls, TooManyCalls
from reliable_email.smtp.stages import Stage

AddressInfo = tuple[int, int, int, str, Any]

_NOT_FOUND = {code for name in ("EAI_NONAME", "EAI_NODATA") if (code := getattr(socket, name, None)) is not None}


_lookups: SharedCalls[list[AddressInfo]] = SharedCalls("resolve")


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
    """Return whether a host is an IP address (perhaps with a zone), which needs no look-up."""
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
        if is_numeric(name):
            found = _call(name.encode("ascii"), port)  # as text it would be taken for a name, and bring in IDNA
        else:
            found = _lookups.call((name, port), lambda: _call(name, port), timeout=timeout)
    except TooManyCalls as error:
        raise _failed(FailureKind.RESOLVER_FAILED, f"{name} was not asked for: {error}") from error
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
    _lookups.reset()


def _call(name: str | bytes, port: int) -> list[AddressInfo]:
    return cast(list[AddressInfo], socket.getaddrinfo(name, port, type=socket.SOCK_STREAM))


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


remember(__name__, reset=reset)
