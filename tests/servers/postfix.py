"""A private submission server: Postfix with Dovecot's SASL, STARTTLS on one port and implicit TLS on another.

It takes mail from its one account for any recipient but the three that it refuses, and delivers each recipient's
copy into a Maildir. Needs root, and Debian's postfix and dovecot-core.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_binary_file, policy
from email.message import EmailMessage
from pathlib import Path

from tests.servers.ground import (
    CertificateFiles,
    ServerDidNotStart,
    answers,
    end_group,
    free_ports,
    make_certificates,
    public_folder,
    wait_until,
)

MEBIBYTE = 1024 * 1024
REFUSED = {
    "nouser@example.com": "550 5.1.1 No such user",
    "busy@example.com": "450 4.2.1 Mailbox busy",
    "full@example.com": "452 4.2.2 Mailbox full",
}
_NOBODY_UID = 65534
_ATTEMPTS = 3  # another process may take a port between our look and Postfix's bind

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = {command_directory}
daemon_directory = {daemon_directory}
maillog_file = {folder}/postfix.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
biff = no
smtputf8_enable = yes
smtpd_peername_lookup = no
message_size_limit = {message_size_limit}
mailbox_size_limit = 0
virtual_mailbox_limit = 0
virtual_mailbox_domains = static:ALL
virtual_mailbox_maps = static:Maildir/
virtual_mailbox_base = {folder}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
default_transport = error:nothing leaves this machine
smtpd_tls_cert_file = {folder}/cert.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_security_level = encrypt
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth.sock
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
  check_recipient_access texthash:{folder}/postfix/refused
  permit_sasl_authenticated, reject
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
"""

_MASTER = """\
127.0.0.1:{starttls_port} inet n - n - - smtpd
127.0.0.1:{tls_port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
pickup unix n - n 60 1 pickup
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_DOVECOT = """\
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.log
instance_name = {name}
protocols =
ssl = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
service auth {{
  unix_listener {folder}/auth.sock {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
service stats {{
  chroot =
}}
"""
# A wrong password delays later ones by Dovecot's "penalty", which has no switch: its socket is taken away.
_DOVECOT_2_3 = """\
disable_plaintext_auth = no
passdb {{
  driver = static
  args = password={password}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""
_DOVECOT_2_4_FIRST = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
"""
_DOVECOT_2_4 = """\
auth_allow_cleartext = yes
passdb static {{
  password = {password}
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredCopy:
    """One recipient's copy of a message."""

    recipient: str
    sender: str
    message: EmailMessage
    path: Path


@dataclass(slots=True, kw_only=True)
class PostfixSubmission:
    """A running server; every attribute is what a client needs to know."""

    folder: Path
    certificates: CertificateFiles
    host: str = "localhost"
    starttls_port: int = 0
    tls_port: int = 0
    username: str = "user@example.com"
    password: str = field(default="s3cret", repr=False)
    message_size_limit: int = 32 * MEBIBYTE
    mechanisms: str = "plain login"

    def start(self) -> None:
        """Start Postfix on the ports it had, at first on free ones."""
        if self.starttls_port:
            self._start_postfix()
            return
        for attempt in range(1, _ATTEMPTS + 1):
            self.starttls_port, self.tls_port = free_ports(2)
            self._configure_postfix()
            try:
                self._start_postfix()
            except ServerDidNotStart:
                self.stop()
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def stop(self) -> None:
        """End Postfix's master and with it its group: every session is cut off."""
        pid_file = self.folder / "spool" / "pid" / "master.pid"
        with contextlib.suppress(OSError, ValueError):
            end_group(int(pid_file.read_text()), self.log)
            pid_file.unlink()  # the number may soon be another's

    def restart(self) -> None:
        """Cut all sessions and come back on the same ports."""
        # A delivery into the Maildir that is cut before it is noted is repeated, which is Postfix's right.
        wait_until(self._nothing_is_queued, "an empty queue", self.log)
        self.stop()
        self.start()

    def _nothing_is_queued(self) -> bool:
        folders = (self.folder / "spool" / name for name in ("maildrop", "incoming", "active"))
        return not any(path.is_file() for folder in folders for path in folder.rglob("*"))

    def log(self) -> str:
        """What both programs wrote."""
        logs = (self.folder / name for name in ("start.log", "postfix.log", "dovecot.log"))
        return "\n".join(path.read_text(errors="replace") for path in logs if path.exists())

    def delivered(self, count: int) -> list[DeliveredCopy]:
        """The copies in the Maildir, all that are there once there are `count`."""
        new = self.folder / "Maildir" / "new"
        wait_until(lambda: len(list(new.iterdir())) >= count, f"delivery of {count} copies", self.log)
        return [_read_copy(path) for path in sorted(new.iterdir())]

    def forget_delivered(self) -> None:
        """Empty the Maildir."""
        for path in (self.folder / "Maildir" / "new").iterdir():
            path.unlink()

    def _start_postfix(self) -> None:
        # Into a file: the daemons inherit a pipe, which would never end.
        with (self.folder / "start.log").open("w") as output:
            done = subprocess.run(
                [_program("postfix"), "-c", str(self.folder / "postfix"), "start"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        if done.returncode:
            raise ServerDidNotStart(self.log())
        wait_until(
            lambda: answers(self.starttls_port) and answers(self.tls_port), "the start of Postfix", self.log, seconds=15
        )

    def _configure_postfix(self) -> None:
        configuration = self.folder / "postfix"
        values = {
            "folder": self.folder,
            "uid": _NOBODY_UID,
            "message_size_limit": self.message_size_limit,
            "command_directory": _compiled_in("command_directory"),
            "daemon_directory": _compiled_in("daemon_directory"),
        }
        (configuration / "main.cf").write_text(_MAIN.format(**values))
        (configuration / "master.cf").write_text(
            _MASTER.format(starttls_port=self.starttls_port, tls_port=self.tls_port)
        )
        (configuration / "refused").write_text("".join(f"{who} {reply}\n" for who, reply in REFUSED.items()))

    @contextlib.contextmanager
    def passwords_judged(self) -> Iterator[None]:
        """Dovecot, for as long as the context lasts."""
        version = subprocess.run([_program("dovecot"), "--version"], capture_output=True, text=True, check=True).stdout
        is_new = tuple(int(part) for part in version.split()[0].split(".")[:2]) >= (2, 4)
        text = (_DOVECOT_2_4_FIRST if is_new else "") + _DOVECOT + (_DOVECOT_2_4 if is_new else _DOVECOT_2_3)
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(
            text.format(folder=self.folder, name=self.folder.name, password=self.password, mechanisms=self.mechanisms)
        )
        with (self.folder / "dovecot.log").open("a") as output:
            process = subprocess.Popen(
                [_program("dovecot"), "-F", "-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        with process:
            try:
                socket_path = self.folder / "auth.sock"
                wait_until(lambda: socket_path.exists() or process.poll() is not None, "the start of Dovecot", self.log)
                if process.poll() is not None:
                    raise ServerDidNotStart(self.log())
                yield
            finally:
                process.terminate()
                process.wait(10)


@contextlib.contextmanager
def postfix_submission_server(
    *, message_size_limit: int = 32 * MEBIBYTE, mechanisms: str = "plain login"
) -> Iterator[PostfixSubmission]:
    """Start one in a folder of its own; at the end nothing is left of it."""
    with public_folder("re-postfix-") as folder:
        for name in ("postfix", "spool", "data", "dovecot"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        for name in ("", "new", "cur", "tmp"):
            path = folder / "Maildir" / name
            path.mkdir()
            os.chown(path, _NOBODY_UID, _NOBODY_UID)
        server = PostfixSubmission(
            folder=folder,
            certificates=make_certificates(folder),
            message_size_limit=message_size_limit,
            mechanisms=mechanisms,
        )
        with server.passwords_judged():
            try:
                server.start()
                yield server
            finally:
                server.stop()


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    assert found is not None, f"{name}: tests.services.require() comes first"
    return found


def _compiled_in(parameter: str) -> str:
    return subprocess.run(
        [_program("postconf"), "-d", "-h", parameter], capture_output=True, text=True, check=True
    ).stdout.strip()


def _read_copy(path: Path) -> DeliveredCopy:
    with path.open("rb") as file:
        message = message_from_binary_file(file, policy=policy.SMTP)
    assert isinstance(message, EmailMessage)
    return DeliveredCopy(
        recipient=str(message["Delivered-To"]),
        sender=str(message["Return-Path"]).strip("<>"),
        message=message,
        path=path,
    )
