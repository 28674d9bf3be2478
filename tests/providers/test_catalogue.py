"""The provider data: complete, consistent, and found by what people type."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reliable_email import providers
from reliable_email.providers import catalogue
from reliable_email.smtp.options import TLSMode

ALL = providers.names()
GENERIC = Path(catalogue.__file__).parent / "data" / "generic.toml"


@pytest.mark.parametrize(
    "hosts",
    ['["mail.acme.example"]', '[\n  "mail.acme.example",\n]', "['mail.acme.example']  # only one"],
    ids=["in one line", "in three lines", "as TOML alone writes it"],
)
def test_hosts_may_be_written_as_toml_allows(hosts, tmp_path, monkeypatch):
    """A new provider's file is read as it is written, and does not make the other ones unreadable."""
    text = GENERIC.read_text("utf-8")
    (line,) = [one for one in text.splitlines() if one.startswith("hosts = ")]
    (tmp_path / "generic.toml").write_text(text.replace(line, f"hosts = {hosts}"), "utf-8")
    monkeypatch.setattr(catalogue, "_FOLDER", tmp_path)
    for cached in (catalogue._content, catalogue._hosts, catalogue._data, catalogue.names):
        getattr(cached, "cache_clear", lambda: None)()
    try:
        assert catalogue._hosts("generic") == ["mail.acme.example"]
    finally:
        monkeypatch.undo()
        for cached in (catalogue._content, catalogue._hosts, catalogue._data, catalogue.names):
            getattr(cached, "cache_clear", lambda: None)()


@pytest.mark.parametrize("name", ALL)
def test_each_provider_can_be_read(name):
    """Every data file gives a provider whose values are usable as they are."""
    provider = providers.get(name)
    assert provider.name == name
    assert provider.title
    assert provider.auth
    assert set(provider.auth) <= {"plain", "login", "xoauth2"}
    assert provider.host or name == "generic"
    for endpoint in (provider, *provider.alternatives):
        assert 0 < endpoint.port < 65536
        assert endpoint.tls is not TLSMode.NONE
        assert "{" not in endpoint.host
    assert (provider.idempotency_header is None) == (provider.idempotency_seconds is None)
    for quota in provider.quotas:
        assert quota.window_seconds > 0
        assert quota.limit > 0
        assert quota.unit in {"recipients", "messages"}
    assert all(url.startswith("https://") for url in provider.links.values())
    assert re.compile(provider.reply_id).groups == bool(provider.reply_id)
    hash(provider)


@pytest.mark.parametrize("name", [name for name in ALL if name != "generic"])
def test_the_own_host_leads_back_to_the_provider(name):
    """`for_host` of a provider's host finds it, and at the same region."""
    provider = providers.get(name)
    found = providers.for_host(provider.host.upper() + ".")
    if name == "google-workspace":  # shares smtp.gmail.com, where the lower limit is the safe guess
        assert found == providers.get("gmail")
    else:
        assert found == provider
    for region in provider.regions:
        assert providers.for_host(providers.get(name, region).host) == providers.get(name, region)


@pytest.mark.parametrize(
    ("host", "name", "region"),
    [
        ("smtp.gmail.com", "gmail", None),
        ("smtp-relay.gmail.com", "google-workspace", None),
        ("email-smtp.eu-west-1.amazonaws.com", "ses", "eu-west-1"),
        ("smtp.eu.mailgun.org", "mailgun", "eu"),
        ("smtppro.zoho.eu", "zoho", "com"),
    ],
)
def test_a_host_name_shows_provider_and_region(host, name, region):
    """Host patterns and regional hosts are recognised."""
    found = providers.for_host(host)
    assert found is not None
    assert (found.name, found.region) == (name, region)


@pytest.mark.parametrize("name", providers.names())
def test_each_says_when_it_was_looked_up(name):
    """Limits change; the reference prints the month."""
    datetime.strptime(providers.get(name).as_of, "%Y-%m").replace(tzinfo=UTC)


@pytest.mark.parametrize("host", ["mail.example.org", "smtp.gmail.com.example.org", "", "notsmtp.gmail.com"])
def test_foreign_hosts_belong_to_nobody(host):
    """A host that merely contains a provider's name is not its host."""
    assert providers.for_host(host) is None


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Gmail", "gmail"),
        ("google_workspace", "google-workspace"),
        ("Amazon SES", "ses"),
        ("office365", "microsoft365"),
    ],
)
def test_spelling_does_not_matter(typed, name):
    """Case, underscores, spaces and usual other names are understood."""
    assert providers.get(typed).name == name


def test_an_unknown_provider_is_named_with_the_nearest_known_one():
    """The error lists what there is and suggests what was probably meant."""
    with pytest.raises(providers.UnknownProvider, match="Did you mean 'sendgrid'") as caught:
        providers.get("sendgird")
    assert "postmark" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, LookupError)


@pytest.mark.parametrize(
    ("name", "region", "words"),
    [
        ("mailgun", "mars", "Known are: us, eu"),
        ("gmail", "eu", "has no regions"),
        ("ses", "eu west/1", "not the name of a region"),
    ],
)
def test_an_unknown_region_is_refused(name, region, words):
    """A region that does not exist is an error, never a host name made from it."""
    with pytest.raises(providers.UnknownProvider, match=words):
        providers.get(name, region)


def test_any_region_of_amazon_is_a_host():
    """Amazon opens regions faster than we release; their names are taken as they are."""
    provider = providers.get("ses", "AP-Southeast-7")
    assert provider.host == "email-smtp.ap-southeast-7.amazonaws.com"
    assert {endpoint.host for endpoint in provider.alternatives} == {provider.host}


def test_documented_limits_are_there():
    """The limits on which quotas and connection counts rest by default."""
    assert providers.get("gmail").quotas == (providers.Quota(window_seconds=86400, limit=500),)
    assert providers.get("google-workspace").quotas == (providers.Quota(window_seconds=86400, limit=2000),)
    assert providers.get("microsoft365").max_connections == 3
    assert providers.Quota(window_seconds=60, limit=30, unit="messages") in providers.get("microsoft365").quotas


def test_idempotent_providers_name_their_header():
    """Resend and Lettermint remember a key for a day."""
    assert providers.get("resend").idempotency_header == "Resend-Idempotency-Key"
    assert providers.get("lettermint").idempotency_header == "Idempotency-Key"
    assert providers.get("postmark").idempotency_header is None


@pytest.mark.parametrize("name", ALL)
def test_dns_data_is_whole(name):
    """Each record is one that can be shown, and what is looked up is among what is to be added."""
    provider = providers.get(name)
    assert provider.return_path in {"sender", "account", "domain", "provider"}
    for record in provider.dns:
        assert record.purpose in {"dkim", "return_path"}
        assert record.type in {"TXT", "CNAME", "MX"}
        assert record.value.format(domain="example.com", dashed="example-com", region="eu-west-1")
        assert record.value.endswith(".") is (record.type != "TXT")
        assert record.name.endswith("._domainkey") is (record.purpose == "dkim")
    names = [record.name for record in provider.dns]
    if provider.return_path_label:
        assert provider.return_path == "provider"
        assert provider.return_path_label in names
    if provider.dkim_selectors:
        usual = {f"{selector}._domainkey" for selector in provider.dkim_selectors}
        assert usual & set(names) or "<selector>._domainkey" in names
    if provider.return_path != "provider" and name not in {"generic", "yahoo"}:
        assert provider.spf_include
