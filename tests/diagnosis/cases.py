"""Everything that goes wrong with a site's mail, as servers and settings: each case is run, tested, and documented.

`docs/troubleshooting.md` is written from this table by `tools/write_troubleshooting.py`; its outputs are real ones.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from reliable_email.testing import certificates
from reliable_email.testing.script import Script
from reliable_email.testing.server import ScriptedServer, raw
from reliable_email.testing.simulated import simulated
from tests.diagnosis.runs import CONSOLE, FAILOVER, Run, smtp, test_email

TO = ("--to", "you@example.net")
HEALTHY, UNHEALTHY, USAGE, DEGRADED = range(4)

# What is shown in the documentation for a server's port.
_SHOWN_PORTS = {"none": 25, "starttls": 587, "implicit": 465}


@dataclass(frozen=True, slots=True)
class Story:
    """A run, and the ports of its servers as the documentation shows them."""

    run: Run
    ports: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that goes wrong.

    Attributes:
        title: the heading in the documentation.
        text: what the output alone cannot say.
        tell: does it.
        code: the exit code.
        words: what the output must hold.
        arguments: of the command, as the documentation shows them.
        seconds: how long a connection took, as the documentation shows it.
    """

    title: str
    text: str
    tell: Callable[[], Story]
    code: int = UNHEALTHY
    words: tuple[str, ...] = ()
    arguments: str = "--to you@example.net"
    seconds: str = "0.25"


@dataclass(frozen=True, slots=True)
class Chapter:
    """Cases that belong together."""

    title: str
    text: str
    cases: tuple[Case, ...]


@cache
def story_of(case: Case) -> Story:
    """Tell a case once: its tests and the page speak of the same run."""
    return case.tell()


def against(server: Callable[[], ScriptedServer], *arguments: str, **options: Any) -> Callable[[], Story]:
    """The command, where the default mailer uses this server."""

    def tell() -> Story:
        with server() as one:
            wanted = "implicit" if options.get("use_ssl") else "starttls" if options.get("use_tls") else one.tls
            shown = _SHOWN_PORTS[wanted] if wanted == one.tls or one.tls == "none" else 2000 + _SHOWN_PORTS[one.tls]
            run = test_email(*TO, *arguments, entries={"default": smtp(**one.options(**options))})
            return Story(run, {one.port: shown})

    return tell


def configured(**options: Any) -> Callable[[], Story]:
    """The command, where these options are all there is."""
    return lambda: Story(test_email(*TO, entries={"default": smtp(**options)}))


def with_certificate(name: str, **options: Any) -> Callable[[], Story]:
    """A server with a defective certificate."""
    host = certificates.DEFECTS[name].connects_to
    return against(
        lambda: ScriptedServer(tls="starttls", certificate=certificates.defective(name)), host=host, **options
    )


def failover(first: bool, second: bool) -> Callable[[], Story]:
    """Two routes, each alive or dead."""

    def tell() -> Story:
        with contextlib.ExitStack() as stack:
            gmail, sendgrid = (stack.enter_context(simulated(name)) for name in ("gmail", "sendgrid"))
            ports = {gmail.port: 587, sendgrid.port: 587}
            entries = {
                "default": {"BACKEND": FAILOVER, "OPTIONS": {"using": ["gmail", "sendgrid"]}},
                "gmail": smtp(**gmail.options()),
                "sendgrid": smtp(**sendgrid.options()),
            }
            for server, is_alive in ((gmail, first), (sendgrid, second)):
                if not is_alive:
                    server.stop_listening()
            return Story(test_email(*TO, entries=entries), ports)

    return tell


def refused_connection() -> Story:
    """Nobody listens there."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    return Story(test_email(*TO, entries={"default": smtp(host="127.0.0.1", port=port, use_tls=True)}), {port: 587})


def swallowed_connection() -> Story:
    """A port that neither takes connections nor refuses them, as behind a firewall."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):  # its queue is full then
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(listener.getsockname())
        entries = {"default": smtp(host="127.0.0.1", port=port, use_tls=True, timeout=0.5)}
        return Story(test_email(*TO, entries=entries), {port: 587})


def unknown_host() -> Story:
    """A misspelt name."""
    with resolver_says(socket.gaierror(socket.EAI_NONAME, "Name or service not known")):
        return Story(test_email(*TO, entries={"default": smtp(host="smtp.gmial.com", port=587, use_tls=True)}))


@contextlib.contextmanager
def resolver_says(error: OSError) -> Iterator[None]:
    """The machine's resolver answers every name with this."""
    real = socket.getaddrinfo

    def answer(*args: Any, **kwargs: Any) -> Any:
        raise error

    socket.getaddrinfo = answer
    try:
        yield
    finally:
        socket.getaddrinfo = real


def console_only() -> Story:
    """The mailer of a fresh project in development."""
    return Story(test_email(*TO, entries={"default": {"BACKEND": CONSOLE}}, DEBUG=True))


CHAPTERS = (
    Chapter(
        "When all is well",
        "All three checks pass, and the exit code is 0.",
        (
            Case(
                title="HEALTHY",
                text="The provider accepted the message. If it does not arrive in the inbox, look into the spam "
                "folder and the provider's log.",
                tell=against(lambda: simulated("gmail")),
                code=HEALTHY,
                words=("Test email sent successfully!", "Status: HEALTHY"),
            ),
            Case(
                title="Each stage with its time",
                text="`--health-check` shows the time that each stage takes, and asks the server about sender and "
                "recipient "
                "before a message is sent.",
                tell=against(lambda: simulated("gmail"), "--health-check"),
                code=HEALTHY,
                arguments="--to you@example.net --health-check",
                words=("✓ resolve", "✓ tls", "TLSv1.3", "days left", "✓ auth", "as someone@gmail.com", "✓ rcpt"),
            ),
            Case(
                title="The conversation with the server",
                text="`--verbose` shows the conversation without the password. `--check-only` sends no message.",
                tell=against(lambda: simulated("gmail"), "--check-only", "--verbose"),
                code=HEALTHY,
                arguments="--check-only --verbose",
                words=("C: EHLO client.example.com", "C: AUTH PLAIN ****", "S: 235 2.7.0 Accepted"),
            ),
        ),
    ),
    Chapter(
        "The server cannot be reached",
        "The failure comes before the login, so the password is not the reason.",
        (
            Case(
                title="The host does not exist",
                text="",
                tell=unknown_host,
                words=("at stage resolve", "smtp.gmial.com does not exist", "Correct the host name."),
            ),
            Case(
                title="The connection is refused",
                text="The machine answers, but no server listens on that port.",
                tell=refused_connection,
                words=("at stage connect", "connection refused", "Check host and port", "Inside a container"),
            ),
            Case(
                title="The connection gets no answer",
                text="Hosting providers often block outgoing mail ports silently. Ask them, or use the "
                "mail provider's other port: many also listen on 2525.",
                tell=swallowed_connection,
                seconds="15.00",
                words=("at stage connect", "no answer", "firewall"),
            ),
            Case(
                title="Another service answers",
                text="",
                tell=against(lambda: ScriptedServer(Script(greeting=raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")))),
                words=("at stage greeting", "HTTP/1.1 400 Bad Request", "does not speak SMTP"),
            ),
        ),
    ),
    Chapter(
        "Port and TLS do not fit together",
        "Port 587 begins in plaintext and switches to TLS by STARTTLS (`use_tls`); port 465 speaks TLS from the first "
        "byte (`use_ssl`). If port and option are known to contradict each other, the configuration check "
        "says so, and no connection is made.",
        (
            Case(
                title="use_tls on a port that wants TLS at once",
                text="Each side waits for the other to begin.",
                tell=against(lambda: ScriptedServer(tls="implicit"), use_tls=True, use_ssl=None, timeout=0.5),
                seconds="15.00",
                words=("at stage greeting", "use_ssl in place of use_tls"),
            ),
            Case(
                title="use_ssl on a port that begins in plaintext",
                text="",
                tell=against(lambda: ScriptedServer(tls="starttls"), use_ssl=True, use_tls=None),
                words=("at stage tls", "use use_tls in place of use_ssl"),
            ),
            Case(
                title="The port and the option contradict each other",
                text="",
                tell=configured(host="smtp.example.com", port=465, use_tls=True),
                words=("Configuration is not valid", "port 465 with STARTTLS", "use use_ssl"),
            ),
            Case(
                title="use_tls and use_ssl together",
                text="",
                tell=configured(host="smtp.example.com", use_tls=True, use_ssl=True),
                words=("Configuration is not valid", "use_tls", "use_ssl"),
            ),
            Case(
                title="STARTTLS is not offered",
                text="The package never sends without TLS if you configured TLS.",
                tell=against(ScriptedServer, use_tls=True),
                words=("at stage starttls", "does not offer STARTTLS", "Check the port"),
            ),
        ),
    ),
    Chapter(
        "The certificate is refused",
        "Certificates are always verified. After a refusal, up to three more handshakes find out the reason, without a "
        "password, and the output names the smallest safe remedy, which is never `ssl_verify=False`.",
        (
            Case(
                title="A rule of form is broken: it works, and is DEGRADED",
                text="Since Python 3.13, certificates of many private CAs (and of proxies that inspect TLS) fail with "
                '"Basic Constraints of CA cert not marked critical" and the like. Under `ssl_strict="auto"`, the '
                "default, everything else is verified and mail goes out.",
                tell=with_certificate("ca_basic_constraints_not_critical"),
                code=DEGRADED,
                words=("breaks a rule of form", "not marked critical", "“Reliable Email Test CA”", "Status: DEGRADED"),
            ),
            Case(
                title="The same with ssl_strict=True: refused",
                text="",
                tell=with_certificate("ca_basic_constraints_not_critical", ssl_strict=True),
                words=("at stage tls", "not marked critical", "Change only ssl_strict"),
            ),
            Case(
                title="Issued by a CA that is not known here",
                text="The name after “issued by” shows whose CA it is: your company's, or that of a proxy.",
                tell=with_certificate("unknown_ca_sent"),
                words=("issued by “Reliable Email Test CA”", "proxy", "Set only ssl_cafile"),
            ),
            Case(
                title="The server leaves out its intermediate certificate",
                text="",
                tell=with_certificate("missing_intermediate"),
                words=("issued by “Reliable Email Test Intermediate CA”", "leaves out its intermediate certificate"),
            ),
            Case(
                title="A self-signed certificate",
                text="",
                tell=with_certificate("self_signed_and_unknown"),
                words=("is self-signed", "fingerprint", "ssl_cafile"),
            ),
            Case(
                title="For another host",
                text="Often the host is an alias of the name that the provider documents.",
                tell=with_certificate("wrong_host"),
                words=("The certificate is for mail.elsewhere.test", "Use one of its names as the host."),
            ),
            Case(
                title="For another name than the one that you connect to",
                text="This happens with a mail server in a container, or one that you reach by its IP address. Set "
                "`tls_server_name` "
                "to the name to verify, or use a pin, which replaces the check of names.",
                tell=with_certificate("wrong_host"),
                words=("tls_server_name='mail.elsewhere.test'", "ssl_pin='sha256//"),
            ),
            Case(
                title="Expired",
                text="",
                tell=with_certificate("leaf_expired"),
                words=("“localhost” expired on", "Its owner must renew it."),
            ),
            Case(
                title="An expired CA certificate",
                text="",
                tell=with_certificate("intermediate_expired"),
                words=("“Reliable Email Test Intermediate CA” expired on",),
            ),
            Case(
                title="Not yet valid",
                text="",
                tell=with_certificate("not_yet_valid"),
                words=("is valid from", "this machine's clock says"),
            ),
            Case(
                title="A key that is too weak",
                text="",
                tell=with_certificate("weak_key"),
                words=("key is too weak", "Only the owner of the server can mend this"),
            ),
            Case(
                title="Verification is switched off",
                text="It works, but anyone on the way can read and change the mail. With a password, the package "
                "refuses to connect.",
                tell=with_certificate("leaf_expired", ssl_verify=False),
                code=DEGRADED,
                words=("is not verified", "ssl_cafile", "Status: DEGRADED"),
            ),
        ),
    ),
    Chapter(
        "The login is refused",
        "The package tries a password once. More tries would lock the account at some providers, so a route is "
        "closed after a "
        "refused login until its configuration changes.",
        (
            Case(
                title="A wrong password",
                text="",
                tell=against(lambda: simulated("generic"), password="not-the-password"),
                words=("at stage auth", "535 5.7.8 Error: authentication failed", "Check user name, password or token"),
            ),
            Case(
                title="Gmail: an app password is needed",
                text="",
                tell=against(lambda: simulated("gmail", faults="app_password_required")),
                words=(
                    "534 5.7.9",
                    "use an app password (needs 2-Step Verification) or OAuth 2.0",
                    "App passwords: http",
                ),
            ),
            Case(
                title="Microsoft 365: SMTP AUTH is switched off",
                text="",
                tell=against(lambda: simulated("microsoft365", faults="smtp_auth_disabled")),
                words=("535 5.7.139", "An administrator must enable it", "Switch on SMTP AUTH: http"),
            ),
            Case(
                title="Microsoft 365: basic authentication is switched off",
                text="Use OAuth 2.0: see the options `auth` and `token_provider`.",
                tell=against(lambda: simulated("microsoft365", faults="basic_auth_disabled")),
                words=("550 5.7.30", "no longer accepts passwords here", "OAuth 2.0"),
            ),
            Case(
                title="Amazon SES: the account is not subscribed",
                text="",
                tell=against(lambda: simulated("ses", faults="not_subscribed")),
                words=("at stage auth", "Account not subscribed to SES"),
            ),
            Case(
                title="A login is offered under TLS only",
                text="Without TLS the password would travel in clear text, so servers do not offer a login then.",
                tell=against(
                    lambda: ScriptedServer(tls="starttls", login={"shop@example.com": "simulated"}), use_tls=None
                ),
                words=("at stage auth", "no login before TLS", "set use_tls"),
            ),
            Case(
                title="A user name without a password",
                text="Usually an environment variable is empty.",
                tell=configured(host="smtp.example.com", use_tls=True, username="shop@example.com"),
                words=("Configuration is not valid", "a user name but no password", "environment variable empty"),
            ),
        ),
    ),
    Chapter(
        "The message is refused",
        "The connection and the login work.",
        (
            Case(
                title="SendGrid: the sender is not verified",
                text="Other providers use other words for the same refusal.",
                tell=against(lambda: simulated("sendgrid", verified_senders=["other@example.com"])),
                words=("Test email was not sent", "sender_not_verified", "Sender Identity"),
            ),
            Case(
                title="Amazon SES: the account is in the sandbox",
                text="",
                tell=against(lambda: simulated("ses", faults="sandbox")),
                words=("Test email was not sent", "you@example.net", "sender_not_verified"),
            ),
            Case(
                title="The day's allowance is used up",
                text="",
                tell=against(lambda: simulated("gmail", quota_left=0)),
                words=("Test email was not sent", "Daily user sending limit exceeded", "quota_exceeded"),
            ),
            Case(
                title="The recipient does not exist",
                text="",
                tell=against(lambda: simulated("generic", unknown_recipients=["you@example.net"])),
                words=("✗ you@example.net: rejected", "Correct the address"),
            ),
        ),
    ),
    Chapter(
        "Several routes",
        "With one working route mail goes out, but the verdict is DEGRADED.",
        (
            Case(
                title="The fallback does not work: DEGRADED",
                text="The test finds a failure of the fallback before you need it.",
                tell=failover(first=True, second=False),
                code=DEGRADED,
                words=("✓ gmail:", "✗ sendgrid:", "Test email sent successfully!", "Reason: sendgrid does not work"),
            ),
            Case(
                title="The first route does not work: DEGRADED",
                text="",
                tell=failover(first=False, second=True),
                code=DEGRADED,
                words=("✗ gmail:", "✓ sendgrid:", "Test email sent successfully!", "Reason: gmail does not work"),
            ),
            Case(
                title="No route works: UNHEALTHY",
                text="",
                tell=failover(first=False, second=False),
                words=("not tried, because no route works", "Reason: gmail, sendgrid do not work"),
            ),
        ),
    ),
    Chapter(
        "Nothing is delivered",
        "",
        (
            Case(
                title="Only the console",
                text="The console is right for development, but sends nothing.",
                tell=console_only,
                code=DEGRADED,
                words=("not sent, because it would reach no recipient", "Status: DEGRADED", "delivers none"),
            ),
        ),
    ),
)

CASES = tuple(case for chapter in CHAPTERS for case in chapter.cases)
