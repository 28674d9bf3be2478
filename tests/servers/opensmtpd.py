"""OpenSMTPD out of Debian's package: what it takes stays in its queue, since the next host never answers."""

from collections import Counter

from tests.servers.mail_server import BUSY, DOMAIN, NO_SUCH_USER, Books, CellServer, message_id_in

_CONFIGURATION = f"""\
table no_such_user {{ "^{NO_SUCH_USER}" }}
table busy {{ "^{BUSY}" }}
filter refused phase rcpt-to match rcpt-to regex <no_such_user> reject "550 5.1.1 No such user"
filter later phase rcpt-to match rcpt-to regex <busy> reject "450 4.2.1 Mailbox busy"
filter judged chain {{ refused later }}
listen on 127.0.0.1 port {{port}} hostname localhost filter judged
action hold relay host smtp://127.0.0.1:1
match from any for domain "{DOMAIN}" action hold
"""


class OpenSMTPD(CellServer):
    """As Debian has it: a hundred mails a session, and no PIPELINING."""

    name = "opensmtpd"
    package = "opensmtpd"
    program = "/usr/sbin/smtpd"

    def configure(self) -> None:
        """Write smtpd.conf, and make the users that it is built for."""
        self.cell.add_user("opensmtpd", "/var/lib/opensmtpd/empty")
        self.cell.add_user("opensmtpq")
        self.cell.make_folder("/var/lib/opensmtpd/empty")
        self.cell.make_folder("/var/spool/smtpd", mode=0o711)
        self.cell.write("/etc/smtpd.conf", _CONFIGURATION.replace("{port}", str(self.port)))
        self.cell.write("/etc/mailname", "localhost\n")

    def script(self) -> str:
        """Run it in the foreground."""
        return "chown root:opensmtpq /usr/sbin/smtpctl\n/usr/sbin/smtpd -F; echo smtpd ended\n"

    def books(self) -> Books:
        """Read the queue: a folder a message, of its content and one envelope for each recipient."""
        copies: Counter[tuple[str, str]] = Counter()
        for content in self.cell.file("/var/spool/smtpd/queue").rglob("message"):
            message_id = message_id_in(content.read_bytes())
            for envelope in content.parent.glob(f"{content.parent.name}*"):
                fields = dict(line.split(": ", 1) for line in envelope.read_text().splitlines() if ": " in line)
                copies[message_id, fields["rcpt"]] += 1
        return Books(copies=copies)
