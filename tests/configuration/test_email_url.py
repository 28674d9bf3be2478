"""The notation of EMAIL_URL."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.backends.reading.email_url import URLProblem, parse_urls


@pytest.mark.parametrize(
    ("url", "flag"),
    [
        ("smtp://h", None),
        ("smtp://h:25", None),
        ("smtp://u:p@localhost:1025", None),
        ("smtp://h:587", "use_tls"),
        ("smtp://h:465", "use_ssl"),
        ("smtp://u:p@h", "use_tls"),
        ("submission://h", "use_tls"),
        ("submit://h", "use_tls"),
        ("smtp+tls://h", "use_tls"),
        ("submissions://h", "use_ssl"),
        ("smtp+ssl://h", "use_ssl"),
        ("smtps://h", "use_ssl"),
        ("smtps://h:465", "use_ssl"),
        ("smtps://h:587", "use_tls"),
        ("SMTPS://H:2465", "use_ssl"),
    ],
)
def test_the_scheme_says_when_tls_starts(url: str, flag: str | None) -> None:
    """And the port where the scheme is ambiguous."""
    (parsed,) = parse_urls(url)
    assert [name for name in ("use_tls", "use_ssl") if parsed.options.get(name) == "true"] == ([flag] if flag else [])
    assert parsed.options["host"] in ("h", "localhost")


@pytest.mark.parametrize("url", ["smtps://h", "smtps://h:587", "smtp://u:p@h", "smtp://h:465"])
def test_what_was_decided_is_said(url: str) -> None:
    """An operator who meant the other thing sees it in the system checks."""
    assert "was taken as" in parse_urls(url)[0].note


@pytest.mark.parametrize("url", ["submission://u:p@h", "submissions://h", "smtp://h", "smtp://h:587?tls=1"])
def test_nothing_is_said_where_nothing_was_decided(url: str) -> None:
    """No noise."""
    assert parse_urls(url)[0].note == ""


def test_the_query_wins_over_the_scheme_s_guess() -> None:
    """`tls` and `ssl` are the short names of other packages."""
    assert parse_urls("smtp://u:p@h?tls=false")[0].options["use_tls"] == "false"
    assert parse_urls("smtps://h:2525?tls=true")[0].options["use_tls"] == "true"
    assert "use_ssl" not in parse_urls("smtps://h:2525?tls=true")[0].options


@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_user_and_password_are_percent_decoded(user: str, password: str) -> None:
    """Whatever they are."""
    try:
        url = f"submission://{quote(user, safe='')}:{quote(password, safe='')}@mail.example.com:2587?timeout=3"
    except UnicodeEncodeError:
        return  # a lone surrogate cannot be in an environment's URL
    (parsed,) = parse_urls(url)
    assert dict(parsed.options) == {
        "host": "mail.example.com",
        "username": user,
        "password": password,
        "port": "2587",
        "use_tls": "true",
        "timeout": "3",
    }


def test_a_plus_is_a_plus() -> None:
    """Only in queries is it a space."""
    assert parse_urls("submission://a+b:c+d@h")[0].options["password"] == "c+d"


def test_an_ipv6_host_has_brackets() -> None:
    """As in every URL."""
    assert parse_urls("smtp://[::1]:1025")[0].options["host"] == "::1"


@pytest.mark.parametrize(
    ("url", "backend", "name"),
    [
        ("console:", "console", "console"),
        ("consolemail://", "console", "console"),
        ("memory:", "locmem", "locmem"),
        ("locmem:", "locmem", "locmem"),
        ("dummy:", "dummy", "dummy"),
        ("file:///tmp/mail", "filebased", "file"),
    ],
)
def test_other_backends_have_schemes(url: str, backend: str, name: str) -> None:
    """Those of Django."""
    (parsed,) = parse_urls(url)
    assert parsed.backend == f"django.core.mail.backends.{backend}.EmailBackend"
    assert parsed.name == name


def test_a_failover_has_its_urls_in_order() -> None:
    """Line ends and spaces around them do not matter."""
    parsed = parse_urls(" failover( submission://a\n  submissions://u:p@b?only_to=x.example,y.example )")
    assert [one.options["host"] for one in parsed] == ["a", "b"]
    assert parsed[1].options["only_to"] == "x.example,y.example"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mail.example.com", "scheme"),
        ("stmp://h", "did you mean 'smtp'"),
        ("http://h", "known are smtp"),
        ("roundrobin(smtp://a smtp://b)", "only failover"),
        ("failover()", "without URLs"),
        ("failover(failover(smtp://a))", "group within a group"),
        ("smtp://a smtp://b", "failover(url url)"),
        ("smtp://u:hunter2/x@h", "percent-encode"),
        ("smtp://u:hunter2#x@h", "percent-encode"),
        ("smtp://u:hunter2?x@h", "percent-encode"),
        ("smtp://h/inbox", "behind the host"),
        ("smtp://h:99999", "port"),
        ("smtp://u:hunter2@[::1", "percent-encode"),
        ("smtp://h?timeout=1&timeout=2", "twice"),
        ("smtp://h?tls=maybe", "true or false"),
        ("file:", "folder"),
    ],
)
def test_what_cannot_be_understood_is_said_without_its_secret(url: str, words: str) -> None:
    """A password with an unescaped character is the usual mistake."""
    with pytest.raises(URLProblem) as caught:
        parse_urls(url)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
