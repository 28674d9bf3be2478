"""Twisted's ESMTP server: `python with_twisted.py PORT FOLDER`."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from kept import keep, refusal
from twisted.internet import defer, reactor
from twisted.internet.protocol import Factory
from twisted.mail import smtp
from zope.interface import implementer


@implementer(smtp.IMessage)
class Message:
    """One recipient's copy: Twisted hands the content to each."""

    def __init__(self, folder: Path, recipient: str) -> None:
        self._folder = folder
        self._recipient = recipient
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Take a line."""
        self._lines.append(line)

    def eomReceived(self) -> Any:  # noqa: N802
        """Keep the copy."""
        keep(self._folder, [self._recipient], b"\n".join(self._lines))
        return defer.succeed(None)

    def connectionLost(self) -> None:  # noqa: N802
        """Forget an unfinished one."""
        self._lines.clear()


@implementer(smtp.IMessageDelivery)
class Delivery:
    """Judges recipients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:  # noqa: N802
        """Return the trace line."""
        return b"Received: by localhost"

    def validateFrom(self, helo: Any, origin: Any) -> Any:  # noqa: N802
        """Take every sender."""
        return origin

    def validateTo(self, user: Any) -> Callable[[], Message]:  # noqa: N802
        """Answer RCPT."""
        address = str(user.dest)
        if said := refusal(address):
            raise smtp.SMTPServerError(*said)
        return partial(Message, self._folder, address)


class Server(Factory):
    """One protocol a connection."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def buildProtocol(self, address: Any) -> Any:  # noqa: N802
        """Make it."""
        protocol = smtp.ESMTP()
        protocol.delivery = Delivery(self._folder)
        protocol.factory = self
        return protocol


if __name__ == "__main__":
    reactor.listenTCP(int(sys.argv[1]), Server(Path(sys.argv[2])), interface="127.0.0.1")
    reactor.run()
