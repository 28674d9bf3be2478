"""Courier out of Debian's package: nothing of its queue is delivered, so that the queue is its books."""

from collections import Counter

from tests.servers.mail_server import DOMAIN, Books, CellServer, message_id_in

_USER = "taken"  # any address that begins with it and a hyphen is this user's
_ENVIRONMENT = """\
PATH=/usr/bin:/bin:/usr/sbin
BOFHCHECKDNS=0
BOFHNOEXPN=1
BOFHNOVRFY=1
TARPIT=0
NOADDMSGID=1
NOADDDATE=1
ESMTP_LOG_DIALOG=0
AUTH_REQUIRED=0
MAILUSER=courier
MAILGROUP=courier
"""
_SCRIPT = """\
chown -R courier:courier /var/lib/courier /run/courier
chmod 770 /var/lib/courier/tmp
chown courier:courier /usr/lib/courier/courier/submitmkdir
chmod 4755 /usr/lib/courier/courier/submitmkdir
/usr/sbin/authdaemond start
set -a
. /etc/courier/trial
exec /usr/sbin/couriertcpd -user=courier -group=courier -address=127.0.0.1 -maxprocs=40 -maxperc=5 -maxperip=5 \\
  -noidentlookup -nodnslookup {port} /usr/sbin/courieresmtpd
"""


class Courier(CellServer):
    """It announces PIPELINING, and throws away what stands behind the final dot; five connections a client."""

    name = "courier"
    package = "courier-mta"
    program = "/usr/sbin/couriertcpd"
    has_busy = False

    def configure(self) -> None:
        """Write its configuration, and make the one user that takes all mail."""
        self.cell.add_user("courier", "/var/lib/courier")
        owner = self.cell.add_user(_USER, f"/home/{_USER}")
        self.cell.make_folder(f"/home/{_USER}", owner)
        self.cell.write(f"/home/{_USER}/.courier-default", "./Maildir\n", 0o600)
        self.cell.own(f"/home/{_USER}", owner)
        for name in ("me", "defaultdomain"):
            self.cell.write(f"/etc/courier/{name}", "localhost\n")
        self.cell.write("/etc/courier/locals", f"localhost\n{DOMAIN}\n")
        self.cell.write("/etc/courier/esmtpacceptmailfor", f"{DOMAIN}\n")
        self.cell.write("/etc/courier/trial", _ENVIRONMENT)
        self.cell.make_folder("/run/courier/authdaemon")

    def script(self) -> str:
        """Run the daemon of logins, which also knows who is a user, and the listener."""
        return _SCRIPT.format(port=self.port)

    def books(self) -> Books:
        """Read the queue: a file of content and one of the envelope for each message."""
        copies: Counter[tuple[str, str]] = Counter()
        # No courierd takes them from there into the queue proper.
        for envelope in self.cell.file("/var/lib/courier/tmp").glob("*/C*"):
            message_id = message_id_in(envelope.with_name(f"D{envelope.name[1:]}").read_bytes())
            lines = envelope.read_text(errors="replace").splitlines()
            copies.update((message_id, line[1:]) for line in lines if line.startswith("r"))
        return Books(copies=copies)
