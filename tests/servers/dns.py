"""A DNS server on the loopback, over UDP and TCP, with a small zone and a few ways to fail."""

import contextlib
import socketserver
import struct
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from dnslib import AAAA, CNAME, MX, QTYPE, RCODE, RR, SOA, TXT, A, DNSRecord

Row = tuple[str, str, str]  # name, type, value


class Zone:
    """What the server answers; it counts what it was asked.

    Attributes:
        rows: records; TXT as one text, MX as "10 host.".
        failing: names for which the answer is SERVFAIL.
        silent: names for which there is no answer; "*" for all.
    """

    def __init__(self, rows: Iterable[Row], *, failing: Collection[str] = (), silent: Collection[str] = ()) -> None:
        self.rows = [(name.lower().rstrip("."), kind, value) for name, kind, value in rows]
        self.failing = set(failing)
        self.silent = set(silent)
        self.asked: list[tuple[str, str]] = []

    def reply(self, request: DNSRecord) -> DNSRecord | None:
        """The answer; None to say nothing."""
        name, kind = str(request.q.qname).lower().rstrip("."), QTYPE[request.q.qtype]
        self.asked.append((name, kind))
        if name in self.silent or "*" in self.silent:
            return None
        reply = request.reply()
        if name in self.failing:
            reply.header.rcode = RCODE.SERVFAIL
            return reply
        for _ in range(8):  # as a resolver does, along the CNAMEs
            found = [row for row in self.rows if row[0] == name and row[1] in (kind, "CNAME")]
            for row in found:
                reply.add_answer(_record(*row))
            aliases = [row[2].rstrip(".").lower() for row in found if row[1] == "CNAME"]
            if not aliases or kind == "CNAME":
                break
            name = aliases[0]
        if not any(row[0] == name or row[0].endswith(f".{name}") for row in self.rows):
            reply.header.rcode = RCODE.NXDOMAIN
        return reply


class DNSServer:
    """Serves a zone while it is entered; `address` is what `--resolver` takes."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def __enter__(self) -> "DNSServer":
        """Listen on a free port, the same for both transports."""
        while True:
            self._tcp = _TCPServer(("127.0.0.1", 0), _stream(self.zone))
            self.port = self._tcp.server_address[1]
            try:
                self._udp = _UDPServer(("127.0.0.1", self.port), _datagram(self.zone))
                break
            except OSError:  # somebody else has that one
                self._tcp.server_close()
        for server in (self._udp, self._tcp):
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        for server in (self._udp, self._tcp):
            server.shutdown()
            server.server_close()

    @property
    def address(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving(rows: Iterable[Row], **faults: Any) -> Iterator[DNSServer]:
    """A server with this zone."""
    with DNSServer(Zone(rows, **faults)) as server:
        yield server


class _UDPServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _TCPServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def _datagram(zone: Zone) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            request = DNSRecord.parse(data)
            reply = zone.reply(request)
            if reply is None:
                return
            packed = reply.pack()
            if len(packed) > 512:  # the client asks again over TCP
                short = request.reply()
                short.header.tc = 1
                packed = short.pack()
            sock.sendto(packed, self.client_address)

    return Handler


def _stream(zone: Zone) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            file = self.request.makefile("rb")
            (length,) = struct.unpack("!H", file.read(2))
            reply = zone.reply(DNSRecord.parse(file.read(length)))
            if reply is not None:
                packed = reply.pack()
                self.request.sendall(struct.pack("!H", len(packed)) + packed)
            file.close()

    return Handler


def _record(name: str, kind: str, value: str) -> RR:
    match kind:
        case "TXT":
            octets = value.encode()
            data: Any = TXT([octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""])
        case "MX":
            number, host = value.split()
            data = MX(host, int(number))
        case "CNAME":
            data = CNAME(value)
        case "A":
            data = A(value)
        case "SOA":
            data = SOA(value, value, (1, 3600, 600, 86400, 60))
        case _:
            data = AAAA(value)
    return RR(name, getattr(QTYPE, kind), ttl=60, rdata=data)
