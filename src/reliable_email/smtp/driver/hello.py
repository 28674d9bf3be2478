"""The client's name in EHLO: its full name, or its address as a literal (RFC 5321 §4.1.1.1, §4.1.3).

The address is the connection's own, as the server sees it unless something translates it in between. Containers have
names without a dot; a loopback address from one of them is what junk mail says, and is refused or block-listed for it.
"""

import ipaddress
import socket

from reliable_email.patterns import pattern

_LOOPBACK_LITERAL = "[127.0.0.1]"
_LABEL = pattern(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_MAX_NAME_CHARACTERS = 255
# Full by their form, and names of no machine.
_NOBODY = frozenset({"localhost.localdomain", "localhost6.localdomain6", "localhost.local"})

_machine_name: str | None = None


def hello_name(sock: socket.socket, configured: str | None) -> str:
    """The name for EHLO on this connection: the configured one, the machine's full one, or an address literal."""
    return configured or machine_name() or address_literal(_own_address(sock))


def machine_name() -> str:
    """This machine's full name, "" where it has none.

    `socket.getfqdn` is not asked: it may hang for as long as the resolver likes.
    """
    global _machine_name
    if _machine_name is None:
        name = socket.gethostname()
        _machine_name = name if is_full_name(name) else ""
    return _machine_name


def is_full_name(name: str) -> bool:
    """Return whether a host name is one that a server can look up."""
    labels = name.rstrip(".").split(".")
    if len(labels) < 2 or len(name) > _MAX_NAME_CHARACTERS or name.lower() in _NOBODY:
        return False
    # A name whose last label is a number is an address, however it is meant (RFC 3696 §2).
    return all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def address_literal(address: str) -> str:
    """The address in brackets; loopback's where it is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _LOOPBACK_LITERAL
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return f"[{mapped}]" if mapped is not None else f"[IPv6:{found}]"
    return f"[{found}]"


def is_loopback_peer(sock: socket.socket) -> bool:
    """Judged by the peer that was reached, not by a name."""
    try:
        return is_loopback(str(sock.getpeername()[0]))
    except (OSError, IndexError, TypeError):
        return False


def is_loopback(address: str) -> bool:
    """Return whether an address belongs to this machine."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback


def _own_address(sock: socket.socket) -> str:
    try:
        return str(sock.getsockname()[0])
    except (OSError, IndexError, TypeError):
        return ""
