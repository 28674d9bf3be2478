"""sendmail out of Debian's package: it queues only, so that its queue is its books."""

from collections import Counter

from tests.servers.mail_server import BUSY, DOMAIN, NO_SUCH_USER, Books, CellServer

_CONFIGURATION = f"""\
divert(0)dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`linux')dnl
define(`confDELIVERY_MODE', `queue')dnl
define(`confDONT_PROBE_INTERFACES', `True')dnl
define(`confDOMAIN_NAME', `localhost')dnl
define(`confREFUSE_LA', `1000')dnl
define(`confQUEUE_LA', `1000')dnl
define(`confTO_IDENT', `0')dnl
define(`confDONT_BLAME_SENDMAIL', `AssumeSafeChown')dnl
define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA, Addr=127.0.0.1, Port={{port}}')dnl
FEATURE(`no_default_msa')dnl
FEATURE(`nocanonify')dnl
FEATURE(`accept_unresolvable_domains')dnl
RELAY_DOMAIN(`{DOMAIN}')dnl
MAILER(`smtp')dnl
LOCAL_CONFIG
Kno_such_user regex -a@MATCH ^<?{NO_SUCH_USER}
Kbusy regex -a@MATCH ^<?{BUSY}
LOCAL_RULESETS
SLocal_check_rcpt
R$*	$: $1 $| $(no_such_user $1 $)
R$* $| @MATCH	$#error $@ 5.1.1 $: "550 No such user"
R$* $| $*	$: $1 $| $(busy $1 $)
R$* $| @MATCH	$#error $@ 4.2.1 $: "450 Mailbox busy"
R$* $| $*	$1
"""


class Sendmail(CellServer):
    """As Debian has it, with PIPELINING."""

    name = "sendmail"
    package = "sendmail-bin"
    program = "/usr/libexec/sendmail/sendmail"

    def configure(self) -> None:
        """Write what sendmail.cf is made of, and the folders that it is strict about."""
        self.cell.add_user("smmta")
        self.cell.write("/etc/mail/sendmail.mc", _CONFIGURATION.replace("{port}", str(self.port)))
        self.cell.write("/etc/mail/service.switch", "hosts files\n")
        self.cell.make_folder("/var/spool/mqueue", mode=0o700)
        self.cell.make_folder("/run/sendmail/mta")

    def script(self) -> str:
        """Make sendmail.cf, and run the daemon in the foreground."""
        return (
            "m4 /etc/mail/sendmail.mc > /etc/mail/sendmail.cf\n"
            f"{self.program} -bD -C /etc/mail/sendmail.cf; echo sendmail ended\n"
        )

    def books(self) -> Books:
        """Read the control files of the queue; one whose name begins otherwise was not finished."""
        copies: Counter[tuple[str, str]] = Counter()
        for path in self.cell.file("/var/spool/mqueue").glob("qf*"):
            message_id, recipients = "", []
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("R"):
                    recipients.append(line.partition(":")[2].strip("<>"))
                elif line.startswith("H") and "message-id:" in line.lower():
                    message_id = line.partition("<")[2].partition(">")[0]
            copies.update((message_id, one) for one in recipients)
        return Books(copies=copies)
