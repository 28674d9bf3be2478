"""Our opinion of SPF and DMARC beside checkdmarc's, over the same zones and the same DNS server.

The two differ on purpose in one thing: ABNF, and so SPF, does not mind case; `test_dns` has that.
"""

from importlib.util import find_spec

import pytest

from reliable_email.diagnosis.dns.dmarc import Policy, find_policy
from reliable_email.diagnosis.dns.lookup import Lookup
from reliable_email.diagnosis.dns.spf import examine_spf
from tests.diagnosis.dns_cases import (
    DMARC,
    DOMAIN,
    MAILGUNS,
    SPF,
    WORKSPACE,
    dmarc,
    many_lookups,
    spf,
    without,
)
from tests.servers.dns import Row, serving

# Imported by the tests alone: each process that collects them would need a second for it.
pytestmark = pytest.mark.skipif(find_spec("checkdmarc") is None, reason="checkdmarc is not installed for this Python")


def alone(text: str, *more: Row) -> list[Row]:
    """The zone with this SPF record."""
    return [*without(SPF), spf(text), *more]


def asking(text: str) -> list[Row]:
    """The zone with this DMARC record."""
    return [*without(DMARC), dmarc(text)]


SPF_ZONES = {
    "good": WORKSPACE,
    "none": without(SPF),
    "two": [*WORKSPACE, spf("v=spf1 include:mailgun.org -all"), MAILGUNS],
    "too many lookups": many_lookups(),
    "void lookups": alone("v=spf1 a:old1.example.com a:old2.example.com mx:old3.example.com ~all"),
    "two void lookups": alone("v=spf1 a:old1.example.com mx:old3.example.com ~all"),
    "include without a record": alone("v=spf1 include:spf.gone.example ~all"),
    "no IP": alone("v=spf1 ip4:192.0.2.300 ~all"),
    "the other IP version": alone("v=spf1 ip4:2001:db8::1 ~all"),
    "networks": alone("v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"),
    "no such mechanism": alone("v=spf1 foo:bar ~all"),
    "everybody": alone("v=spf1 +all"),
    "itself": alone("v=spf1 include:example.com ~all"),
    "redirect": alone("v=spf1 redirect=_spf.google.com"),
    "redirect to nothing": alone("v=spf1 redirect=spf.gone.example"),
    "a and mx": alone("v=spf1 mx a ~all", ("mx.example.com", "A", "192.0.2.5"), (DOMAIN, "A", "192.0.2.6")),
    "no all": alone("v=spf1 include:_spf.google.com"),
    "nothing": alone("v=spf1"),
}
DMARC_ZONES = {
    "good": WORKSPACE,
    "none": without(DMARC),
    "two": [*WORKSPACE, dmarc("v=DMARC1; p=none")],
    "no such policy": asking("v=DMARC1; p=block"),
    "all tags": asking("v=DMARC1; p=quarantine; sp=none; adkim=s; aspf=r; pct=20; rua=mailto:dmarc@example.com"),
    "no such alignment": asking("v=DMARC1; p=none; adkim=x"),
    "no policy": asking("v=DMARC1; rua=mailto:dmarc@example.com"),
    "as a test": asking("v=DMARC1; p=reject; t=y"),
    "removed tags": asking("v=DMARC1; p=reject; pct=0; rf=afrf; ri=3600"),
    "the policy late": asking("v=DMARC1; rua=mailto:dmarc@example.com; p=reject"),
    "a word that is no tag": asking("v=DMARC1; p=none; what"),
    "another version": asking("v=DMARC2; p=none"),
    "the version last": asking("p=none; v=DMARC1"),
}


@pytest.fixture(autouse=True)
def fresh() -> None:
    """checkdmarc remembers what it was told of a name."""
    from checkdmarc import utils

    utils.DNS_CACHE.clear()


def resolver(port: int) -> object:
    """dnspython's, asking our server."""
    import dns.resolver

    made = dns.resolver.Resolver(configure=False)
    made.nameservers = ["127.0.0.1"]
    made.port = port
    return made


@pytest.mark.parametrize("name", SPF_ZONES)
def test_spf_is_judged_alike(name: str) -> None:
    """Usable or not; and where it is, at the same cost."""
    from checkdmarc.spf import check_spf

    with serving(SPF_ZONES[name]) as server:
        theirs = check_spf(DOMAIN, resolver=resolver(server.port), timeout=10)
        ours = examine_spf(Lookup(("127.0.0.1", server.port), query_seconds=10).ask, DOMAIN)
    assert ours.is_usable == theirs["valid"], (ours.errors, theirs)
    if theirs["valid"]:
        assert (ours.lookups, ours.voids) == (theirs["dns_lookups"], theirs["void_dns_lookups"] or 0)


def at(domain: str, text: str) -> Row:
    """A DMARC record there."""
    return (f"_dmarc.{domain}", "TXT", text)


DEEP = "a.b.c.d.e.f.g.h.mail.example.com"
TREES = {
    "the record above": ("a.mail.example.com", [at("example.com", "v=DMARC1; p=reject; sp=quarantine")]),
    "the highest of two": (
        "a.mail.example.com",
        [at("mail.example.com", "v=DMARC1; p=none"), at("example.com", "v=DMARC1; p=reject")],
    ),
    "an organization in the midst": (
        "a.mail.example.com",
        [at("mail.example.com", "v=DMARC1; p=none; psd=n"), at("example.com", "v=DMARC1; p=reject")],
    ),
    "a public suffix": ("shop.example.com", [at("com", "v=DMARC1; p=reject; psd=y; np=reject")]),
    "below a public suffix": (
        "a.shop.example.com",
        [at("example.com", "v=DMARC1; p=none; psd=y"), at("shop.example.com", "v=DMARC1; p=quarantine")],
    ),
    "further below a public suffix": (
        "a.shop.example.com",
        [at("com", "v=DMARC1; p=none; psd=y"), at("shop.example.com", "v=DMARC1; p=quarantine")],
    ),
    "a long name, near": (DEEP, [at("c.d.e.f.g.h.mail.example.com", "v=DMARC1; p=reject")]),
    "a long name, far": (DEEP, [at("e.f.g.h.mail.example.com", "v=DMARC1; p=reject")]),
    "its own": (
        "mail.example.com",
        [at("mail.example.com", "v=DMARC1; p=none"), at("example.com", "v=DMARC1; p=reject")],
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_the_tree_is_walked_alike(name: str) -> None:
    """Which record counts for a domain below, and at most eight questions about it (RFC 9989 section 4.10)."""
    from checkdmarc.dmarc import DMARCRecordNotFound, query_dmarc_record

    domain, rows = TREES[name]
    rows = [*rows, (domain, "A", "192.0.2.1"), (domain, "MX", "10 mx.example.com.")]
    with serving(rows) as server:
        ours = find_policy(Lookup(("127.0.0.1", server.port), query_seconds=10).ask, domain)
        asked = len([one for one in server.zone.asked if one[0].startswith("_dmarc.")])
        try:
            theirs = query_dmarc_record(domain, resolver=resolver(server.port), timeout=10)["location"]
        except DMARCRecordNotFound:
            theirs = None
    assert (ours.domain if isinstance(ours, Policy) else ours) == theirs
    assert asked <= 8


@pytest.mark.parametrize("name", DMARC_ZONES)
def test_dmarc_is_read_alike(name: str) -> None:
    """Whether it counts, and what it asks for."""
    from checkdmarc.dmarc import check_dmarc

    with serving(DMARC_ZONES[name]) as server:
        theirs = check_dmarc(DOMAIN, resolver=resolver(server.port), timeout=10)
        ours = find_policy(Lookup(("127.0.0.1", server.port), query_seconds=10).ask, DOMAIN)
    is_usable = isinstance(ours, Policy) and not ours.problem
    assert is_usable == theirs["valid"], (ours, theirs)
    if is_usable:
        assert isinstance(ours, Policy)
        tags = {tag: told["value"] for tag, told in theirs["tags"].items()}
        assert ours.policy == tags["p"]
        assert (ours.is_dkim_strict, ours.is_spf_strict) == (tags["adkim"] == "s", tags["aspf"] == "s")
