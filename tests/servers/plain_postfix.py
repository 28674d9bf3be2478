"""This machine's Postfix in a cell, without TLS and login: it holds what it takes, so that its queue is its books."""

import pwd
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from tests.servers import cell, milter
from tests.servers.ground import free_ports
from tests.servers.mail_server import BUSY, DOMAIN, NO_SUCH_USER, Books, CellServer

_MAIN = """\
compatibility_level = 3.6
maillog_file = /var/log/postfix.log
queue_directory = /var/spool/postfix
data_directory = /var/lib/postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
biff = no
relay_domains = {domain}
smtpd_peername_lookup = no
default_transport = error:nothing leaves this machine
relay_transport = smtp:[127.0.0.1]:1
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_recipient_restrictions =
  check_recipient_access regexp:/etc/postfix/refused
  check_client_access static:HOLD
in_flow_delay = 0
"""
_PATIENT = """\
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 2000
"""
_REFUSED = f"""\
/^{NO_SUCH_USER}/ 550 5.1.1 No such user
/^{BUSY}/ 450 4.2.1 Mailbox busy
"""
_SERVICES = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the records of a queue file: a letter, the length by seven bits a byte, the lowest first, and the text."""
    at = 0
    while at < len(content):
        letter, at = content[at : at + 1], at + 1
        length = shift = 0
        while at < len(content):
            byte, at = content[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield letter, content[at : at + length]
        at += length


def _read_queue_file(content: bytes) -> tuple[str, list[str]]:
    message_id, recipients = "", []
    for letter, text in _records(content):
        if letter == b"R":
            recipients.append(text.decode())
        elif letter == b"N" and not message_id and text[:11].lower() == b"message-id:":
            message_id = text[11:].decode().strip(" <>")
    return message_id, recipients


class Postfix(CellServer):
    """As Debian has it, and patient with refusals."""

    name = "postfix-plain"
    package = "postfix"
    program = "/usr/sbin/postfix"
    extra: ClassVar[str] = _PATIENT
    listener: ClassVar[str] = "127.0.0.1:{port} inet n - n - - smtpd\n"

    @classmethod
    def missing(cls) -> str | None:
        """Return why not: it is used as installed."""
        return cell.missing() or (None if Path(cls.program).exists() else "postfix is not installed")

    def configure(self) -> None:
        """Write main.cf and master.cf."""
        for name in ("dynamicmaps.cf", "postfix-files"):
            if (Path("/etc/postfix") / name).exists():
                shutil.copy(Path("/etc/postfix") / name, self.cell.make_folder("/etc/postfix"))
        self.cell.write("/etc/postfix/main.cf", _MAIN.format(domain=DOMAIN) + self.extra)
        self.cell.write("/etc/postfix/master.cf", self.listener.format(port=self.port) + _SERVICES)
        self.cell.write("/etc/postfix/refused", _REFUSED)
        self.cell.make_folder("/var/lib/postfix", (pwd.getpwnam("postfix").pw_uid, 0))
        self.cell.make_folder("/var/spool/postfix")

    def script(self) -> str:
        """Run the master, which leaves its pid file behind when it is killed."""
        return "rm -f /var/spool/postfix/pid/*\n/usr/sbin/postfix start-fg; echo postfix ended\n"

    def log(self) -> str:
        """Return the end of Postfix's log."""
        path = self.cell.file("/var/log/postfix.log")
        return super().log() + (path.read_text(errors="replace")[-6000:] if path.exists() else "")

    def books(self) -> Books:
        """Read the queue; a file that is not executable was never finished."""
        copies: Counter[tuple[str, str]] = Counter()
        for queue in ("hold", "incoming", "active", "deferred"):
            for path in self.cell.file(f"/var/spool/postfix/{queue}").rglob("*"):
                if path.is_file() and path.stat().st_mode & 0o100:
                    message_id, recipients = _read_queue_file(path.read_bytes())
                    copies.update((message_id, one) for one in recipients)
        return Books(copies=copies)


class PostfixPostscreen(Postfix):
    """Behind postscreen with its deep tests, which refuse a new client's first session at RCPT."""

    name = "postfix-postscreen"
    extra = f"""\
{_PATIENT}
postscreen_access_list =
postscreen_greet_wait = 1s
postscreen_greet_action = enforce
postscreen_pipelining_enable = yes
postscreen_pipelining_action = enforce
postscreen_non_smtp_command_enable = yes
postscreen_bare_newline_enable = yes
postscreen_client_connection_count_limit = 0
"""
    listener = """\
127.0.0.1:{port} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
dnsblog unix - - n - 0 dnsblog
tlsproxy unix - - n - 0 tlsproxy
"""


class PostfixErrorLimit(Postfix):
    """It slows down after one refusal, and hangs up after four."""

    name = "postfix-error-limit"
    extra = """\
smtpd_error_sleep_time = 1s
smtpd_soft_error_limit = 2
smtpd_hard_error_limit = 4
"""


class PostfixRateLimit(Postfix):
    """It takes so many messages, recipients and connections of a client in three seconds."""

    name = "postfix-rate-limit"
    extra = f"""\
{_PATIENT}
anvil_rate_time_unit = 3s
smtpd_client_event_limit_exceptions =
smtpd_client_message_rate_limit = 60
smtpd_client_recipient_rate_limit = 90
smtpd_client_connection_rate_limit = 30
smtpd_client_connection_count_limit = 6
"""


class PostfixMilter(Postfix):
    """With a milter that rejects, tempfails, closes and discards at each stage."""

    name = "postfix-milter"
    fates: ClassVar[Sequence[str]] = (
        *[""] * 48,
        *(f"{deed}.{stage}" for deed in ("reject", "tempfail", "close", "discard") for stage in ("mail", "eom")),
        *(f"{deed}.rcpt" for deed in ("reject", "tempfail", "close")),
        "discard.data",
    )
    route_options: ClassVar[Mapping[str, Any]] = {}

    def configure(self) -> None:
        """Name the milter's port."""
        super().configure()
        (self._milter_port,) = free_ports(1)
        self._discarded = self.folder / "discarded"
        self._discarded.touch()
        with self.cell.file("/etc/postfix/main.cf").open("a") as main:
            main.write(f"smtpd_milters = inet:127.0.0.1:{self._milter_port}\nmilter_default_action = tempfail\n")

    def start(self) -> None:
        """Start the milter, then Postfix."""
        command = [sys.executable, milter.__file__, str(self._milter_port), str(self._discarded)]
        self._milter = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        super().start()

    def kill(self) -> None:
        """Kill both."""
        super().kill()
        self._milter.kill()
        self._milter.wait()

    def books(self) -> Books:
        """Add what the milter's log names, by the sender."""
        discarded = frozenset(self._discarded.read_text().split())
        return Books(copies=super().books().copies, discarded=discarded)
