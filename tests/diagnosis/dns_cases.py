"""Everything that goes wrong with a domain's DNS, as zones and routes: each case is run, tested, and documented.

`docs/deliverability.md` is written from this table by `tools/write_deliverability.py`; its outputs are real ones.
"""

import base64
import contextlib
from collections.abc import Callable, Collection, Iterable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from reliable_email.testing.simulated import simulated
from tests.diagnosis.cases import DEGRADED, HEALTHY, UNHEALTHY, Case, Chapter, Story
from tests.diagnosis.runs import FAILOVER, Run, smtp, test_email
from tests.servers.dns import Row, serving

DOMAIN = "example.com"
ARGUMENTS = "--check-only --dns"
OFFICE = {"office@example.com": "abcdefghijklmnop"}


@cache
def rsa_key(bits: int) -> str:
    """A public key as DKIM publishes it."""
    key = rsa.generate_private_key(65537, max(bits, 1024)).public_key()
    if bits >= 1024:
        return _base64(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    # Nobody makes one so short any more: a smaller modulus in the same structure.
    return _base64(_short_key(bits))


def _short_key(bits: int) -> bytes:
    def der(tag: int, content: bytes) -> bytes:
        head = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
        return bytes([tag]) + head + content

    modulus = b"\0" + bytes([0x80]) + b"\x01" * (bits // 8 - 1)
    key = der(0x30, der(0x02, modulus) + der(0x02, b"\x01\x00\x01"))
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    return der(0x30, algorithm + der(0x03, b"\0" + key))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def dkim(selector: str, *, bits: int = 2048, at: str = DOMAIN, text: str = "") -> Row:
    """A key."""
    return (f"{selector}._domainkey.{at}", "TXT", text or f"v=DKIM1; k=rsa; p={rsa_key(bits)}")


def delegated(selector: str, target: str, *, at: str = DOMAIN) -> list[Row]:
    """A key that the provider keeps, behind a CNAME."""
    name = f"{selector}._domainkey.{at}"
    return [(name, "CNAME", target), (target.rstrip("."), "TXT", f"k=rsa; t=s; p={rsa_key(2048)}")]


MX: Row = (DOMAIN, "MX", "10 mx.example.com.")
GOOGLES: Row = ("_spf.google.com", "TXT", "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ~all")
MAILGUNS: Row = ("mailgun.org", "TXT", "v=spf1 ip4:203.0.113.0/24 ~all")
SPF: Row = (DOMAIN, "TXT", "v=spf1 include:_spf.google.com ~all")
DMARC: Row = (f"_dmarc.{DOMAIN}", "TXT", "v=DMARC1; p=reject; rua=mailto:dmarc@example.com")
SENDGRIDS = [
    *delegated("s1", "s1.domainkey.u1234567.wl123.sendgrid.net."),
    *delegated("s2", "s2.domainkey.u1234567.wl123.sendgrid.net."),
]
WORKSPACE = [MX, SPF, GOOGLES, dkim("google"), DMARC]


def without(*kinds: Row) -> list[Row]:
    """The good zone of a Workspace without some of its records."""
    return [row for row in WORKSPACE if row not in kinds]


def spf(text: str) -> Row:
    """Another SPF record."""
    return (DOMAIN, "TXT", text)


def dmarc(text: str) -> Row:
    """Another DMARC record."""
    return (f"_dmarc.{DOMAIN}", "TXT", text)


def site(
    rows: Iterable[Row],
    *routes: str,
    arguments: Collection[str] = (),
    sender: str = "shop@example.com",
    logins: dict[str, dict[str, str]] | None = None,
    failing: Collection[str] = (),
    silent: Collection[str] = (),
) -> Callable[[], Story]:
    """The command on a site with these routes, where the DNS says this."""

    def tell() -> Story:
        run, ports = run_site(
            rows, *routes, arguments=arguments, sender=sender, logins=logins, failing=failing, silent=silent
        )
        return Story(run, ports)

    return tell


def run_site(
    rows: Iterable[Row],
    *routes: str,
    arguments: Collection[str] = (),
    sender: str = "shop@example.com",
    logins: dict[str, dict[str, str]] | None = None,
    **faults: Any,
) -> tuple[Run, dict[int, int]]:
    """As `site`, at once."""
    names = routes or ("google-workspace",)
    with contextlib.ExitStack() as stack:
        entries: dict[str, Any] = {"default": {"BACKEND": FAILOVER, "OPTIONS": {"using": list(names)}}}
        ports = {}
        for name in names:
            login = (logins or {}).get(name) or (OFFICE if name == "google-workspace" else None)
            server = stack.enter_context(simulated(name, **({"login": login} if login else {})))
            entries[name] = smtp(**server.options())
            ports[server.port] = 587
        dns = stack.enter_context(serving(rows, **faults))
        seconds = "0.2" if "*" in faults.get("silent", ()) else "10"
        run = test_email(
            *ARGUMENTS.split(), "--resolver", dns.address, "--resolver-timeout", seconds, *arguments,
            entries=entries, DEFAULT_FROM_EMAIL=sender,
        )  # fmt: skip
    return run, ports


def many_lookups() -> list[Row]:
    """A record that needs eleven lookups."""
    chain = [(f"spf{n}.example.net", "TXT", f"v=spf1 include:spf{n + 1}.example.net ~all") for n in range(1, 9)]
    last = ("spf9.example.net", "TXT", "v=spf1 ip4:192.0.2.1 ~all")
    own = spf("v=spf1 include:_spf.google.com include:spf1.example.net a ~all")
    return [*without(SPF), own, *chain, last, (DOMAIN, "A", "192.0.2.80")]


CHAPTERS = (
    Chapter(
        "When all is well",
        "Every route is checked, the fallback too.",
        (
            Case(
                title="Two routes, both aligned",
                text="",
                tell=site([*WORKSPACE, *SENDGRIDS], "google-workspace", "sendgrid"),
                code=HEALTHY,
                words=("example.com is in order", "is aligned with example.com, by SPF and DKIM", "by DKIM"),
            ),
        ),
    ),
    Chapter(
        "A route is not aligned",
        "This is the most important finding. DMARC passes if SPF or DKIM authenticates a domain that is aligned with "
        "From.",
        (
            Case(
                title="The fallback was never set up",
                text="Without this check you would find out when the first route fails.",
                tell=site(WORKSPACE, "google-workspace", "sendgrid"),
                code=DEGRADED,
                words=(
                    "s1._domainkey.example.com. CNAME s1.domainkey.u<account>.wl<number>.sendgrid.net.",
                    "receivers refuse it, as your DMARC policy asks; you would notice only when",
                ),
            ),
            Case(
                title="No route is aligned, and the domain asks for refusal",
                text="",
                tell=site([*without(dkim("google")), *SENDGRIDS][:4], "sendgrid"),
                code=UNHEALTHY,
                words=("mail by Twilio SendGrid is not aligned with example.com: receivers refuse it",),
            ),
            Case(
                title="A free account",
                text="",
                tell=site([MX, SPF, GOOGLES, DMARC], "gmail"),
                code=UNHEALTHY,
                words=("An account at gmail.com cannot sign for example.com",),
            ),
            Case(
                title="Another owner's domain",
                text="",
                tell=site(
                    [
                        ("gmail.com", "MX", "5 gmail-smtp-in.l.google.com."),
                        ("_dmarc.gmail.com", "TXT", "v=DMARC1; p=none"),
                    ],
                    "sendgrid",
                    sender="our.shop@gmail.com",
                ),
                code=DEGRADED,
                words=("gmail.com is Gmail's: no other provider can sign for it",),
            ),
            Case(
                title="Strict alignment",
                text="`aspf=s` and `adkim=s` require exactly the domain in From; a return path below it, or a key "
                "above it, is not "
                "enough.",
                tell=site(
                    [
                        MX,
                        dmarc("v=DMARC1; p=quarantine; adkim=s; aspf=s; rua=mailto:dmarc@example.com"),
                        ("mg.example.com", "TXT", "v=spf1 include:mailgun.org ~all"),
                        dkim("k1", at="mg.example.com"),
                        MAILGUNS,
                    ],
                    "mailgun",
                    logins={"mailgun": {"postmaster@mg.example.com": "simulated-secret"}},
                ),
                code=DEGRADED,
                words=(
                    "strict about DKIM and SPF",
                    "mail by Mailgun is not aligned with example.com: it goes to spam",
                    '_dmarc.example.com. TXT "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"',
                ),
            ),
            Case(
                title="Alignment cannot be determined",
                text="Some providers give each account a DKIM selector of its own.",
                tell=site([*without(SPF, dkim("google"))], "postmark"),
                code=HEALTHY,
                words=("--selector postmark=NAME", "pm-bounces.example.com. CNAME pm.mtasv.net."),
            ),
        ),
    ),
    Chapter(
        "SPF",
        "The SPF record lists the servers that may use the domain in MAIL FROM. Receivers ignore a broken record.",
        (
            Case(
                title="No record",
                text="",
                tell=site(without(SPF)),
                code=DEGRADED,
                words=('example.com. TXT "v=spf1 include:_spf.google.com ~all"', "by DKIM"),
            ),
            Case(
                title="Two records",
                text="A common mistake, since each provider's manual says “add this record”.",
                tell=site([*WORKSPACE, spf("v=spf1 include:mailgun.org -all"), MAILGUNS]),
                code=DEGRADED,
                words=('"v=spf1 include:_spf.google.com include:mailgun.org ~all"',),
            ),
            Case(
                title="The provider is not in it",
                text="",
                tell=site([*without(SPF), spf("v=spf1 mx -all")]),
                code=DEGRADED,
                words=('example.com. TXT "v=spf1 mx include:_spf.google.com -all"',),
            ),
            Case(
                title="Too many lookups",
                text="Every `include`, `a`, `mx`, `exists` and `redirect` counts, also in included records.",
                tell=site(many_lookups()),
                code=DEGRADED,
                words=("it needs 11 lookups, and receivers stop after 10", "include:spf1.example.net 9"),
            ),
            Case(
                title="Lookups that find nothing",
                text="",
                tell=site(
                    [
                        *without(SPF),
                        spf(
                            "v=spf1 a:old1.example.com a:old2.example.com mx:old3.example.com "
                            "include:_spf.google.com ~all"
                        ),
                    ]
                ),
                code=DEGRADED,
                words=(
                    "3 of its lookups find nothing, and receivers stop after 2",
                    "finds nothing at old1.example.com",
                ),
            ),
            Case(
                title="An include that has no record",
                text="",
                tell=site([*without(SPF), spf("v=spf1 include:_spf.google.com include:spf.gone.example ~all")]),
                code=DEGRADED,
                words=("spf.gone.example has no SPF record",),
            ),
            Case(
                title="An invalid term",
                text="",
                tell=site([*without(SPF), spf("v=spf1 ip4:192.0.2.300 include:_spf.google.com ~all")]),
                code=DEGRADED,
                words=("“ip4:192.0.2.300” is not an IP network",),
            ),
            Case(
                title="Any server may send",
                text="",
                tell=site([*without(SPF), spf("v=spf1 include:_spf.google.com +all")]),
                code=DEGRADED,
                words=("lets anyone send in your name",),
            ),
        ),
    ),
    Chapter(
        "DKIM",
        "Receivers verify the provider's signature with the key in DNS.",
        (
            Case(
                title="No key",
                text="",
                tell=site(without(dkim("google"))),
                code=DEGRADED,
                words=("no DKIM key of Google Workspace at example.com (looked for google)", "by SPF"),
            ),
            Case(
                title="A weak key",
                text="",
                tell=site([*without(dkim("google")), dkim("google", bits=1024)]),
                code=HEALTHY,
                words=("DKIM key google, RSA 1024 bits: weak",),
            ),
            Case(
                title="A key that is too short",
                text="",
                tell=site([*without(dkim("google")), dkim("google", bits=512)]),
                code=DEGRADED,
                words=("its RSA key has 512 bits, and receivers take none below 1024",),
            ),
            Case(
                title="A revoked key",
                text="",
                tell=site([*without(dkim("google")), dkim("google", text="v=DKIM1; k=rsa; p=")]),
                code=DEGRADED,
                words=("google._domainkey.example.com is revoked (p= is empty)",),
            ),
            Case(
                title="A truncated key",
                text="Some web forms of DNS providers accept only 255 characters.",
                tell=site([*without(dkim("google")), dkim("google", text=f"v=DKIM1; k=rsa; p={rsa_key(2048)[:216]}")]),
                code=DEGRADED,
                words=("was it cut when it was pasted?",),
            ),
            Case(
                title="Another provider's key",
                text="Both providers use the selector `s1`; its CNAME shows whose key it is.",
                tell=site(
                    [MX, spf("v=spf1 include:mailgun.org ~all"), MAILGUNS, DMARC, *SENDGRIDS],
                    "mailgun",
                    logins={"mailgun": {"postmaster@example.com": "simulated-secret"}},
                ),
                code=DEGRADED,
                words=("no DKIM key of Mailgun at example.com",),
            ),
        ),
    ),
    Chapter(
        "DMARC",
        "The DMARC record asks receivers what to do with mail that is not aligned.",
        (
            Case(
                title="No record",
                text="",
                tell=site(without(DMARC)),
                code=DEGRADED,
                words=('_dmarc.example.com. TXT "v=DMARC1; p=none; rua=mailto:postmaster@example.com"',),
            ),
            Case(
                title="Receivers only send reports",
                text="",
                tell=site([*without(DMARC), dmarc("v=DMARC1; p=none")]),
                code=HEALTHY,
                words=("DMARC asks for p=none: receivers only send reports", "DMARC's reports have no recipient"),
            ),
            Case(
                title="A record that cannot be read",
                text="",
                tell=site([*without(DMARC), dmarc("v=DMARC1; p=block")]),
                code=DEGRADED,
                words=("“p=block” is not one of none, quarantine, reject",),
            ),
            Case(
                title="A misspelt policy, with an address for reports",
                text="",
                tell=site([*without(DMARC), dmarc("v=DMARC1; p=rejct; rua=mailto:dmarc@example.com")]),
                code=DEGRADED,
                words=(
                    "receivers treat the DMARC record as p=none",
                    '_dmarc.example.com. TXT "v=DMARC1; p=none; rua=mailto:dmarc@example.com"',
                ),
            ),
            Case(
                title="A policy for part of the mail",
                text="RFC 9989 (2026) no longer has `pct`.",
                tell=site([*without(DMARC), dmarc("v=DMARC1; p=reject; pct=10; rua=mailto:dmarc@example.com")]),
                code=HEALTHY,
                words=(
                    "pct= is no longer part of DMARC (RFC 9989): the policy applies to all mail",
                    '_dmarc.example.com. TXT "v=DMARC1; p=reject; rua=mailto:dmarc@example.com; t=y"',
                ),
            ),
            Case(
                title="A policy in test mode",
                text="",
                tell=site([*without(DMARC), dmarc("v=DMARC1; p=reject; t=y; rua=mailto:dmarc@example.com")]),
                code=HEALTHY,
                words=("DMARC asks for p=reject, as a test (t=y): receivers apply p=quarantine",),
            ),
            Case(
                title="Two records",
                text="",
                tell=site([*WORKSPACE, dmarc("v=DMARC1; p=none")]),
                code=DEGRADED,
                words=("there is more than one",),
            ),
        ),
    ),
    Chapter(
        "The domain itself",
        "Many receivers refuse a sender to whose domain no mail can be sent.",
        (
            Case(
                title="There is no such domain",
                text="",
                tell=site([], sender="shop@exmaple.com"),
                code=UNHEALTHY,
                words=("there is no domain exmaple.com",),
            ),
            Case(
                title="The domain accepts no mail",
                text="",
                tell=site([*without(MX), (DOMAIN, "MX", "0 .")]),
                code=DEGRADED,
                words=("example.com accepts no mail (null MX)",),
            ),
            Case(
                title="Neither MX nor address",
                text="",
                tell=site(without(MX)),
                code=DEGRADED,
                words=("has neither an MX record nor an address",),
            ),
        ),
    ),
    Chapter(
        "DNS lookups fail",
        "The check reports what it could not look up, and concludes nothing from a missing answer.",
        (
            Case(
                title="One name fails",
                text="",
                tell=site(WORKSPACE, failing=["google._domainkey.example.com"]),
                code=DEGRADED,
                words=("TXT of google._domainkey.example.com, because the resolver answered SERVFAIL", "by SPF"),
            ),
            Case(
                title="The resolver is silent",
                text="The check gives up after two lookups without an answer.",
                tell=site(WORKSPACE, silent=["*"]),
                code=DEGRADED,
                words=("could not be looked up: MX of example.com, because the resolver did not answer in time",),
            ),
        ),
    ),
)

CASES = tuple(case for chapter in CHAPTERS for case in chapter.cases)
