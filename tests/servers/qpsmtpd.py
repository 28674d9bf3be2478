"""qpsmtpd out of Debian's package, with one plugin that judges recipients and keeps what it takes."""

from tests.servers.mail_server import Books, CellServer, taken_files

_PLUGIN = r"""
use strict;
use warnings;
use Qpsmtpd::Constants;

sub hook_rcpt {
    my ($self, $transaction, $recipient) = @_;
    return (DENY, "5.7.1 Relay not permitted") if lc $recipient->host ne "example.com";
    return (DENY, "5.1.1 No such user") if $recipient->user =~ /^nouser/;
    return (DENYSOFT, "4.2.1 Mailbox busy") if $recipient->user =~ /^busy/;
    return (OK);
}

sub hook_queue {
    my ($self, $transaction) = @_;
    my $name = sprintf("/var/spool/taken/%d-%d-%d", time, $$, ++$self->{_kept});
    open(my $file, ">", "$name.part") or return (DENYSOFT, "cannot keep: $!");
    print $file join(" ", map { $_->address } $transaction->recipients), "\n", $transaction->header->as_string, "\n";
    $transaction->body_resetpos;
    while (my $line = $transaction->body_getline) { print $file $line; }
    close($file) && rename("$name.part", "$name.taken") or return (DENYSOFT, "cannot keep: $!");
    return (OK, "kept");
}

1;
"""


class Qpsmtpd(CellServer):
    """Its forking server, whose greeting takes a second: it looks a name up in vain."""

    name = "qpsmtpd"
    package = "qpsmtpd"
    program = "/usr/bin/qpsmtpd-forkserver"

    def configure(self) -> None:
        """Write its configuration and the plugin."""
        user = self.cell.add_user("qpsmtpd")
        for folder in ("/var/spool/taken", "/var/spool/qpsmtpd", "/run/qpsmtpd"):
            self.cell.make_folder(folder, user, 0o700)
        self.cell.write("/usr/share/qpsmtpd/plugins/books", _PLUGIN)
        for name, text in {
            "plugins": "books\n",
            "logging": "logging/warn LOGWARN\n",
            "spool_dir": "/var/spool/qpsmtpd\n",
        }.items():
            self.cell.write(f"/etc/qpsmtpd/{name}", text)
        self.cell.write("/etc/qpsmtpd/me", "localhost\n")

    def script(self) -> str:
        """Run it in the foreground."""
        return (
            "export QPSMTPD_CONFIG=/etc/qpsmtpd\n"
            f"{self.program} --listen-address 127.0.0.1 --port {self.port} --user qpsmtpd --limit-connections 20 "
            "--max-from-ip 20; echo qpsmtpd ended\n"
        )

    def books(self) -> Books:
        """Read what the plugin kept."""
        return taken_files(self.cell.file("/var/spool/taken"))
