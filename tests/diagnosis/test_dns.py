"""`test_email --dns`: what is wrong with the sender's domain, said before receivers say it."""

import base64
import contextlib
import json
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.test import modify_settings, override_settings
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.diagnosis.dns.dkim import read_key
from reliable_email.diagnosis.dns.dmarc import Policy, find_policy, organisation_of, read_policy
from reliable_email.diagnosis.dns.examination import examine_domain
from reliable_email.diagnosis.dns.lookup import Ask, Lookup
from reliable_email.diagnosis.dns.routes import routes_mail
from reliable_email.diagnosis.dns.spf import examine_spf
from reliable_email.diagnosis.dns.spf_record import TermError, parse
from reliable_email.diagnosis.examination import routes_to_examine
from reliable_email.diagnosis.verdict import Health
from reliable_email.management.commands import test_email as command
from reliable_email.testing.simulated import simulated
from tests.diagnosis.cases import HEALTHY, TO, USAGE, Case
from tests.diagnosis.dns_cases import (
    CASES,
    DMARC,
    DOMAIN,
    GOOGLES,
    MAILGUNS,
    MX,
    OFFICE,
    SPF,
    WORKSPACE,
    dkim,
    dmarc,
    rsa_key,
    run_site,
    spf,
    without,
)
from tests.diagnosis.dns_document import FILE, document
from tests.diagnosis.runs import CONSOLE, SMTP, mailers, smtp, test_email
from tests.servers.dns import DNSServer, Row, serving


def asking(server: DNSServer) -> Ask:
    """Questions to a server."""
    return Lookup(("127.0.0.1", server.port), query_seconds=10).ask


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_defect_is_told_with_what_to_do(case: Case) -> None:
    """The exit code and the words."""
    run = case.tell().run
    assert run.code == case.code, run.out
    for words in case.words:
        assert words in run.out, run.out


def test_the_documentation_shows_what_is_printed() -> None:
    """docs/deliverability.md is written by tools/write_deliverability.py; run it after a change of words."""
    assert FILE.read_text() == document()


def test_nothing_is_looked_up_unless_it_is_asked_for() -> None:
    """A resolver that is named asks nothing by itself."""
    with serving(WORKSPACE) as dns, simulated("gmail") as server:
        run = test_email("--check-only", "--resolver", dns.address, entries={"default": smtp(**server.options())})
    assert (run.code, dns.zone.asked) == (HEALTHY, [])
    assert "DNS" not in run.out


def test_the_dns_alone_sends_nothing_unless_a_recipient_is_named() -> None:
    """With ADMINS a message would go to somebody who did not expect it."""
    with serving(WORKSPACE) as dns, simulated("google-workspace", login=OFFICE) as server:
        arguments = ("--dns", "--resolver", dns.address, "--resolver-timeout", "10")
        entries = {"default": smtp(**server.options())}
        assert test_email(*arguments, entries=entries, ADMINS=["root@example.com"]).code == HEALTHY
        assert server.messages == []
        assert test_email(*TO, *arguments, entries=entries).code == HEALTHY
        assert len(server.messages) == 1


def test_json_has_every_finding_with_its_records() -> None:
    """Keys are stable; the alignment of each route is a value of its own."""
    run, _ = run_site(WORKSPACE, "google-workspace", "sendgrid", arguments=("--json",))
    told = json.loads(run.out.splitlines()[0])
    assert (told["status"], told["dns"]["status"], told["dns"]["domain"]) == ("degraded", "degraded", DOMAIN)
    assert [(one["route"], one["spf"], one["dkim"], one["aligned"]) for one in told["dns"]["routes"]] == [
        ("google-workspace", "yes", "yes", "yes"),
        ("sendgrid", "no", "no", "no"),
    ]
    [missing] = [one for one in told["dns"]["findings"] if one["topic"] == "dkim" and one["level"] == "warning"]
    assert missing["records"][0] == {
        "name": "s1._domainkey.example.com",
        "type": "CNAME",
        "value": "s1.domainkey.u<account>.wl<number>.sendgrid.net.",
    }


def test_json_says_that_nobody_asked() -> None:
    """Not an empty examination, which would look like a good one."""
    with simulated("gmail") as server:
        run = test_email("--check-only", "--json", entries={"default": smtp(**server.options())})
    assert json.loads(run.out.splitlines()[0])["dns"] is None


def test_a_selector_that_is_named_is_looked_at() -> None:
    """For one route, or for all."""
    rows = [MX, DMARC, dkim("20261124pm")]
    for selector in ("postmark=20261124pm", "20261124pm"):
        run, _ = run_site(rows, "postmark", arguments=("--selector", selector))
        assert "postmark: DKIM key 20261124pm, RSA 2048 bits" in run.out
        assert "is aligned with example.com, by DKIM" in run.out
    run, _ = run_site(rows, "postmark", arguments=("--selector", "elsewhere=20261124pm"))
    assert "DKIM key" not in run.out


def test_another_domain_can_be_named() -> None:
    """That of a second brand, say."""
    run, _ = run_site(
        [*WORKSPACE, ("brand.example", "MX", "10 mx.example.com.")], arguments=("--domain", "Brand.Example.")
    )
    assert "brand.example has no SPF record" in run.out


def test_a_subdomain_takes_the_policy_from_above() -> None:
    """sp= counts for it, and relaxed alignment reaches up to where the record stands."""
    rows = [
        ("mail.example.com", "MX", "10 mx.example.com."),
        ("mail.example.com", "TXT", "v=spf1 include:_spf.google.com ~all"),
        GOOGLES,
        dkim("google"),
        dmarc("v=DMARC1; p=reject; sp=quarantine; rua=mailto:dmarc@example.com"),
    ]
    run, _ = run_site(rows, sender="shop@mail.example.com")
    assert "DMARC asks for p=quarantine, by the record of example.com" in run.out
    assert "is aligned with mail.example.com, by SPF and DKIM" in run.out


SEATED = [("mail.example.com", "MX", "10 mx.example.com."), ("mail.example.com", "TXT", "v=spf1 -all")]


@pytest.mark.parametrize(
    ("rows", "record", "policy"),
    [
        (SEATED, "v=DMARC1; p=reject; sp=quarantine; np=none", "quarantine"),
        ([], "v=DMARC1; p=reject; sp=quarantine; np=none", "none"),
        ([], "v=DMARC1; p=reject; sp=quarantine", "quarantine"),
        ([], "v=DMARC1; p=reject", "reject"),
    ],
)
def test_a_subdomain_that_does_not_exist_has_a_policy_of_its_own(rows: list[Row], record: str, policy: str) -> None:
    """np=, else sp=, else p= (RFC 9989); existing is having an MX or an address."""
    with serving([*rows, dmarc(record)]) as dns:
        found = find_policy(asking(dns), "mail.example.com")
    assert isinstance(found, Policy)
    assert found.policy == policy


@pytest.mark.parametrize(
    ("rows", "organisation"),
    [
        ([], "a.mail.example.com"),
        ([("_dmarc.example.com", "v=DMARC1; p=none")], "example.com"),
        ([("_dmarc.mail.example.com", "v=DMARC1; p=none; psd=n"), ("_dmarc.example.com", "v=DMARC1; p=none")],
         "mail.example.com"),
        ([("_dmarc.com", "v=DMARC1; p=none; psd=y")], "example.com"),
        ([("_dmarc.example.com", "v=DMARC1; p=none; psd=y")], "mail.example.com"),
        ([("_dmarc.a.mail.example.com", "v=DMARC1; p=none; psd=y"), ("_dmarc.com", "v=DMARC1; p=none")],
         "a.mail.example.com"),
        ([("_dmarc.example.com", "v=DMARC1; p=none"), ("_dmarc.example.com", "v=DMARC1; p=reject"),
          ("_dmarc.com", "v=DMARC1; p=none")], "com"),
    ],
)  # fmt: skip
def test_the_organization_is_found_by_walking_the_tree(rows: list[tuple[str, str]], organisation: str) -> None:
    """The nearest psd=n, one below psd=y, else the highest that has one record (RFC 9989 section 4.10.2)."""
    with serving([(name, "TXT", text) for name, text in rows]) as dns:
        assert organisation_of(asking(dns), "a.mail.example.com") == organisation


def test_an_organization_of_its_own_does_not_prove_its_parent() -> None:
    """A signature by a domain whose record has psd=n is no signature by the domain above it."""
    rows = [
        MX, SPF, GOOGLES, DMARC,
        ("_dmarc.mg.example.com", "TXT", "v=DMARC1; p=none; psd=n"),
        ("mg.example.com", "TXT", "v=spf1 include:mailgun.org ~all"), MAILGUNS,
        dkim("pic", at="mg.example.com"), dkim("s1", at="mg.example.com"),
    ]  # fmt: skip
    login = {"mailgun": {"postmaster@mg.example.com": "abcdefghijklmnop"}}
    arguments = ("--selector", "s1", "--json")
    run, _ = run_site(rows, "mailgun", arguments=arguments, logins=login)
    assert json.loads(run.out.splitlines()[0])["dns"]["routes"][0]["aligned"] == "no"
    without_it = [row for row in rows if "psd=n" not in row[2]]
    run, _ = run_site(without_it, "mailgun", arguments=arguments, logins=login)
    assert json.loads(run.out.splitlines()[0])["dns"]["routes"][0]["aligned"] == "yes"


@pytest.mark.parametrize(
    ("rows", "lacks"),
    [
        (without(DMARC), "lacks a DMARC record:"),
        (without(dkim("google")), "lacks a DKIM signature aligned with example.com:"),
        ([MX, DMARC], "lacks a DKIM signature aligned with example.com and alignment:"),
    ],
)
def test_what_receivers_will_refuse_is_told_before_they_do(rows: list[Row], lacks: str) -> None:
    """With who refuses it, since when, and by which codes."""
    run, _ = run_site(rows)
    assert f"mail by Google Workspace {lacks}" in run.out
    for words in ("5,000 messages a day", "Gmail since 2024-02-01", "5.7.515", "Yahoo"):
        assert words in run.out
    assert run.code != HEALTHY


def test_reports_go_only_to_who_agrees() -> None:
    """A service that evaluates them has to say so in its own zone."""
    rows = [*without(DMARC), dmarc("v=DMARC1; p=reject; rua=mailto:a@example.com,mailto:b@reports.example!10m")]
    run, _ = run_site(rows)
    assert 'example.com._report._dmarc.reports.example. TXT "v=DMARC1;"' in run.out
    assert run.code == HEALTHY
    run, _ = run_site([*rows, ("example.com._report._dmarc.reports.example", "TXT", "v=DMARC1;")])
    assert "_report._dmarc" not in run.out


@pytest.mark.filterwarnings("ignore:The EMAIL_")
def test_the_second_provider_of_the_email_settings_is_a_route_too() -> None:
    """`EMAIL_FALLBACK_*` is where nobody looks until it is needed."""
    with serving(WORKSPACE) as dns, override_settings(DEFAULT_FROM_EMAIL="shop@example.com"):
        if hasattr(settings, "MAILERS"):
            del settings.MAILERS
        settings.EMAIL_BACKEND = SMTP
        settings.EMAIL_HOST = "smtp.office365.com"
        settings.EMAIL_FALLBACK_ENABLED = True
        settings.EMAIL_FALLBACK_HOST = "smtp.sendgrid.net"
        found = examine_domain(DOMAIN, routes_mail(routes_to_examine()), asking(dns))
    assert [(one.route, one.provider) for one in found.alignments] == [
        ("primary", "microsoft365"),
        ("fallback", "sendgrid"),
    ]


def test_a_foreign_routes_provider_is_known_by_its_backend() -> None:
    """anymail's backends say whose they are."""
    entries = {"default": {"BACKEND": "anymail.backends.sendgrid.EmailBackend"}}
    with mailers(entries), modify_settings(INSTALLED_APPS={"append": "anymail"}):
        [route] = routes_mail(routes_to_examine())
    assert route.provider is not None
    assert route.provider.name == "sendgrid"


@pytest.mark.parametrize("given", ["dns.example.com", "1.2.3.4:port", "1.2.3.4:0", "[::1"])
def test_a_resolver_is_an_address(given: str) -> None:
    """A name would have to be looked up by whom?"""
    run = test_email("--check-only", "--dns", "--resolver", given, entries={"default": {"BACKEND": CONSOLE}})
    assert (run.code, "--resolver" in run.error) == (USAGE, True)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
    ],
)
def test_forms_of_a_resolver(given: str, found: tuple[str, int]) -> None:
    """With and without a port, of both IP versions."""
    assert command._nameserver(given) == found


def test_a_sender_without_a_domain_is_a_usage_error() -> None:
    """Django's default sender is nobody's address."""
    run = test_email(
        "--check-only", "--dns", entries={"default": {"BACKEND": CONSOLE}}, DEFAULT_FROM_EMAIL="webmaster@localhost"
    )
    assert (run.code, "--domain" in run.error) == (USAGE, True)


def test_without_dnspython_the_extra_is_named() -> None:
    """In a process of its own, where it cannot be imported."""
    program = """
import sys
sys.modules["dns"] = sys.modules["dns.resolver"] = sys.modules["dns.exception"] = None
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "test_email", "--check-only", "--dns"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == USAGE
    assert "pip install 'django-reliable-email[dns]'" in done.stderr
    assert "Traceback" not in done.stderr


class TestSPF:
    """Details of the record that no whole zone is worth."""

    def test_case_does_not_matter(self) -> None:
        """ABNF's texts are in any case."""
        with serving([*without(SPF), spf("V=SPF1 INCLUDE:_spf.google.com ~ALL")]) as dns:
            found = examine_spf(asking(dns), DOMAIN)
        assert (found.is_usable, found.lookups, found.includes) == (True, 1, {"_spf.google.com"})

    def test_other_texts_are_no_spf(self) -> None:
        """Verification codes, and versions that nobody made."""
        with serving([(DOMAIN, "TXT", "google-site-verification=abc"), (DOMAIN, "TXT", "v=spf10 all")]) as dns:
            assert examine_spf(asking(dns), DOMAIN).records == ()

    def test_macros_are_said_not_to_be_followed(self) -> None:
        """They count, and lead nowhere from here."""
        with serving([*without(SPF), spf("v=spf1 exists:%{i}.spf.example.com include:%{d}.example.net ~all")]) as dns:
            found = examine_spf(asking(dns), DOMAIN)
        assert (found.is_usable, found.lookups, found.voids, len(found.notes)) == (True, 2, 0, 2)

    def test_a_record_without_end_is_left_early(self) -> None:
        """Each includes two others: the count stops, and so do the questions."""
        rows = [
            (f"s{n}.example.com", "TXT", f"v=spf1 include:s{2 * n}.example.com include:s{2 * n + 1}.example.com ~all")
            for n in range(1, 200)
        ]
        with serving([spf("v=spf1 include:s1.example.com ~all"), *rows]) as dns:
            found = examine_spf(asking(dns), DOMAIN)
        assert "more than 40 lookups" in " ".join(found.errors)
        assert len(dns.zone.asked) < 50

    @given(text=st.text(max_size=200))
    def test_no_record_breaks_the_reader(self, text: str) -> None:
        """It is read, or it is an error that names the term."""
        with contextlib.suppress(TermError):
            parse(f"v=spf1 {text}")


class TestDKIM:
    """Keys as they are published, and as they should not be."""

    def test_an_ed25519_key_has_no_size(self) -> None:
        """Thirty-two bytes (RFC 8463)."""
        key = read_key("v=DKIM1; k=ed25519; p=" + base64.b64encode(b"k" * 32).decode(), selector="e", domain=DOMAIN)
        assert (key.is_usable, key.words) == (True, "e, Ed25519")

    def test_white_space_in_the_key_does_not_matter(self) -> None:
        """It comes from folding."""
        folded = " ".join(rsa_key(2048)[at : at + 64] for at in range(0, 400, 64))
        assert read_key(f"p={folded}", selector="s", domain=DOMAIN).bits == 2048

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("v=DKIM2; p=abc", "version"),
            ("v=DKIM1; k=rsa", "no key"),
            ("v=DKIM1; k=dsa; p=AAAA", "dsa"),
            ("v=DKIM1; p=!!!", "base64"),
            ("v=DKIM1; k=ed25519; p=AAAA", "32 bytes"),
            ("v=DKIM1; p=AAAA", "cannot be read"),
            ("hello", "is not a tag"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, words: str) -> None:
        """In a word that can be searched for."""
        key = read_key(text, selector="s", domain=DOMAIN)
        assert words in key.problem
        assert not key.is_usable

    @given(text=st.text(max_size=200))
    def test_no_record_breaks_the_reader(self, text: str) -> None:
        """Whatever stands there."""
        for record in (text, f"v=DKIM1; p={text}", "p=" + base64.b64encode(text.encode()).decode()):
            read_key(record, selector="s", domain=DOMAIN)

    def test_a_key_that_is_being_tested_is_noted(self) -> None:
        """t=y lets receivers ignore failures."""
        run, _ = run_site([*without(dkim("google")), dkim("google", text=f"t=y; p={rsa_key(2048)}")])
        assert "only being tested (t=y)" in run.out


@given(text=st.text(max_size=200))
def test_no_dmarc_record_breaks_the_reader(text: str) -> None:
    """Whatever stands there."""
    for record in (text, f"v=DMARC1; p=none; {text}", f"v=DMARC1; p={text}"):
        read_policy(record, at=DOMAIN, domain=DOMAIN)


@pytest.mark.parametrize(
    "name", ["-bad-.example", "a" * 64 + ".example", "a..b.example", "bücher.example", "ex ample.com"]
)
def test_a_name_that_cannot_be_asked_is_an_answer(name: str) -> None:
    """No exception, whatever was typed."""
    with serving(WORKSPACE) as dns:
        found = examine_domain(name, (), asking(dns))
    assert found.verdict is not Health.HEALTHY


def test_all_questions_together_end_in_time() -> None:
    """What is left is not asked, and said so."""
    with serving(WORKSPACE) as dns:
        answer = Lookup(("127.0.0.1", dns.port), all_seconds=0).ask(DOMAIN, "MX")
    assert (answer.is_unasked, answer.reason) == (True, "the time for all questions was over")
