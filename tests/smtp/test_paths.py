"""Addresses on the wire, and the one identity that all spellings of an address have."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_email.smtp.syntax.paths import (
    InvalidPath,
    deduplicate,
    domain_identity,
    forward_path,
    identity,
    older_spellings,
    reverse_path,
    with_ascii_domain,
)

VICTIM = "victim@example.com"
SPELLINGS = {
    VICTIM: [
        "Victim@Example.COM",
        "victim@ｅxample.com",
        "victim@exam\u00adple.com",
        "victim@e\u200dxample.com",
        "victim@exam\u200cple.com",
        "victim@exam\u200bple.com",
        "victim@exam\ufeffple.com",
        "victim@example。com",
        "victim@example．ｃｏｍ",
        "victim@example.com.",
        '"victim"@example.com',
        '"vic\\tim"@EXAMPLE.com',
    ],
    "v@xn--bcher-kva.example": [
        "v@bücher.example",
        "V@BÜCHER.example",
        "v@bu\u0308cher.example",
        "v@XN--BCHER-kva.example",
    ],
    "u@xn--fa-hia.test": ["u@faß.test", "u@FAß.test"],
    "u@xn--nxasmm1c.test": ["u@βόλος.test", "u@ΒΌΛΟς.test"],
    "jörg@example.com": ["jo\u0308rg@example.com", "JöRG@Example.com", '"jörg"@example.com'],
    "a..b@example.com": ['"a..b"@example.com', "A..B@example.com"],
    '"a b"@example.com': ['"A b"@example.com', '"a\\ b"@example.com'],
    "postmaster": ["Postmaster", "POSTMASTER"],
    "x@[ipv6:::1]": ["x@[IPv6:::1]"],
}


@pytest.mark.parametrize(
    ("key", "spelled"), [(key, one) for key, spelled in SPELLINGS.items() for one in (key, *spelled)]
)
def test_every_spelling_of_an_address_is_one_identity(key: str, spelled: str) -> None:
    """And of two in one message the first goes out."""
    assert identity(spelled) == key
    assert deduplicate([spelled, key]) == (spelled,)


@pytest.mark.parametrize(
    ("spelled", "path"),
    [
        ("Victim@Example.COM", "Victim@example.com"),
        ('"Victim"@example.com', "Victim@example.com"),
        ('"a b"@example.com', '"a b"@example.com'),
        ('"a..b"@example.com', '"a..b"@example.com'),
        ('"a\\b"@example.com', "ab@example.com"),
        ("a..b@example.com", "a..b@example.com"),
        ("u@faß.test", "u@xn--fa-hia.test"),
        ("u@fass.test", "u@fass.test"),
        ("u@my_host.bücher.test", "u@my_host.xn--bcher-kva.test"),
        ("u@under_score.test", "u@under_score.test"),
        ("u@-odd-.a--b.test", "u@-odd-.a--b.test"),
        ("u@xn--not-really-.test", "u@xn--not-really-.test"),
        ("jo\u0308rg@example.com", "jo\u0308rg@example.com"),
        ("x@[IPv6:2001:db8::1]", "x@[IPv6:2001:db8::1]"),
        ("postmaster", "postmaster"),
        ("Root", "Root"),
        (f"{'r' * 300}@example.com", f"{'r' * 300}@example.com"),
    ],
)
def test_the_path_keeps_what_a_server_may_tell_apart(spelled: str, path: str) -> None:
    """Local parts go as they are but for quotes that say nothing; domains go as DNS has them."""
    assert forward_path(spelled) == reverse_path(spelled) == (path, not path.isascii())


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "@",
            "@x.org",
            "a@",
            "a b@x.org",
            "a@b..c",
            "a@.b",
            "a@b c",
            "a,b@x.org",
            "a;b",
            "a>b@x.org",
            '"a>b"@x.org',
        ),
        *(
            "a@exa＠mple.com",
            "a@exa／mple.com",
            "a@i❤.test",
            "a@ü-.test",
            "a@\u0301a.test",
            "a@x.org\r\nDATA",
            "a\ud800@x.org",
        ),
        *(f"{'a' * 500}@x.org", f"a@{'b.' * 130}org", f"a@{'ü' * 80}.test"),
    ],
)
def test_what_cannot_go_on_the_wire_is_refused_with_a_reason(address: str) -> None:
    """And still has an identity, so that a list may be asked about it."""
    with pytest.raises(InvalidPath, match="."):
        forward_path(address)
    assert isinstance(identity(address), str)


def test_a_line_of_mail_never_exceeds_what_rfc_5321_allows() -> None:
    """512 bytes with its end, for the longest path that is taken."""
    local = "a" * (len("MAIL FROM:<>\r\n") and 512 - len("MAIL FROM:<@x.org>\r\n"))
    path, _ = reverse_path(f"{local}@x.org")
    assert len(f"MAIL FROM:<{path}>\r\n") == 512
    with pytest.raises(InvalidPath):
        reverse_path(f"a{local}@x.org")


@given(st.text(max_size=20), st.text(max_size=20))
def test_identity_is_stable_and_never_raises(local: str, domain: str) -> None:
    """Of whatever text; the identity of an identity is itself, and so is a path's."""
    key = identity(f"{local}@{domain}")
    assert identity(key) == key
    assert key in older_spellings(f"{local}@{domain}")
    try:
        path, _ = forward_path(f"{local}@{domain}")
    except InvalidPath:
        return
    assert identity(path) == key
    assert forward_path(path)[0] == path


def test_a_header_names_the_domain_that_the_envelope_does() -> None:
    """Whoever answers must reach the same mailbox."""
    text = "Faß @ faß.test <u@faß.test>, <v@faß.test>"
    assert with_ascii_domain(text, "u@faß.test") == "Faß @ faß.test <u@xn--fa-hia.test>, <v@xn--fa-hia.test>"
    assert domain_identity("FAß.test") == "xn--fa-hia.test"


def test_sites_with_plain_addresses_never_load_the_tables_of_idna() -> None:
    """They cost a process some milliseconds and memory."""
    code = (
        "import sys\n"
        "from reliable_email.smtp.syntax.paths import forward_path, identity, older_spellings\n"
        "forward_path('a@example.com'), identity('A@EXAMPLE.com'), older_spellings('\"a\"@x_y.com')\n"
        "assert 'idna' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
