"""A message's HTML for an operator's eyes: what a stranger wrote contacts nobody, runs nothing, fills no memory."""

import base64

import pytest
from django.contrib.auth.models import User
from django.core.mail import EmailMultiAlternatives
from django.test import Client

from reliable_email.models import Action
from reliable_email.outbox.operations.letters import Attachment, Letter, letter
from reliable_email.store.tables.messages import OutboxMessage
from reliable_email.views.parts import preview as previews
from reliable_email.views.parts.preview import preview, warnings
from tests.thoroughness import each
from tests.views.letters import PIXEL, own_image, queue_message

EVIL = "http://evil.example/x"


def read(html: str, *, text: str | None = "text", attachments: tuple[Attachment, ...] = (), **headers: str) -> Letter:
    """A letter with this HTML."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Letter(headers=named, text=text, html=html, attachments=attachments, source=b"")


def image(size: int, name: str = "logo") -> Attachment:
    """An image of the message's own."""
    return Attachment(number=1, name=name, content_type="image/png", data=b"x" * size, content_id=name)


@pytest.mark.parametrize(
    "html",
    [
        f'<link rel="preconnect" href="{EVIL}">',
        f'<link rel=stylesheet href={EVIL}>',
        f'<LINK/rel="dns-prefetch"/href="{EVIL}">',
        f'<iframe src="{EVIL}"></iframe>',
        f"<iframe srcdoc='<img src={EVIL}>'></iframe>",
        f'<frameset><frame src="{EVIL}"></frameset>',
        f'<object data="{EVIL}"></object>',
        f'<embed src="{EVIL}">',
        f'<meta http-equiv="refresh" content="0;url={EVIL}">',
        f'<base href="{EVIL}">',
        f'<form action="{EVIL}"><button formaction="{EVIL}">x</button><input type=image src={EVIL}></form>',
        f'<img src="{EVIL}">',
        f'<img srcset="{EVIL} 2x">',
        f'<img src="cid:logo" src="{EVIL}">',
        f'<img lowsrc="{EVIL}" dynsrc="{EVIL}">',
        f'<table background="{EVIL}"><tr><td background={EVIL}></table>',
        f'<div style="background:url({EVIL})">x</div>',
        f'<div style="background:URL (\'{EVIL}\')">x</div>',
        f"<style>@import '{EVIL}'; p {{ background: url({EVIL}) }}</style>",
        f"<style>@im\\port '{EVIL}'; p {{ background: u\\rl({EVIL}) }}</style>",
        f"<style>p {{ background: uurl()rl({EVIL}); list-style: u<rl({EVIL}) }} @i@import;mport '{EVIL}';</style>",
        f'<style>p {{ background: src("{EVIL}"), cross-fade(u\\r\\l({EVIL}), red) }}</style>',
        f'<svg><image href="{EVIL}"/><a xlink:href="{EVIL}"><text>x</text></a></svg>',
        f'<video poster="{EVIL}"><source src="{EVIL}"></video>',
        f'<audio src="{EVIL}" autoplay>',
        f'<script src="{EVIL}"></script>',
        f"<script>fetch('{EVIL}')</script>",
        f'<p onmouseover="fetch(\'{EVIL}\')">x</p>',
        f"<!--[if mso]><img src={EVIL}><![endif]-->",
        f"<!--><img src={EVIL}>-->",
        f"<noscript><img src={EVIL}></noscript>",
        f'<math><mtext><table><mglyph><style><img src="{EVIL}"></style></table></math>',
        f'<style></style><title><img src="{EVIL}"></title>',
        f'<p title="</p><img src={EVIL}>',
        f"<img\x00src={EVIL}>",
        f"<portal src={EVIL}></portal><marquee onstart={EVIL}>x</marquee>",
    ],
)  # fmt: skip
def test_nothing_that_is_somewhere_else_is_named_where_a_browser_would_go(html: str) -> None:
    """Whatever way is tried; as text for a person it may stay."""
    found = preview(read(f"<p>before</p>{html}")).html
    assert found.startswith("<p>before</p>")
    for piece in found.split("<")[1:]:
        tag = piece.partition(">")[0]
        assert "evil.example" not in tag
    assert "@import" not in found
    assert "url(" not in found.lower()


def test_a_link_leads_nowhere_and_is_listed_with_its_true_host() -> None:
    """Words on a link may lie; a click in the frame goes nowhere."""
    found = preview(
        read(f'<a href="{EVIL}?a=1&amp;b=2" ping="{EVIL}" target=_top>https://<b>bank</b>.example</a> <a>no</a>')
    )
    assert found.links == [("https://bank.example", f"{EVIL}?a=1&b=2")]
    assert "href" not in found.html
    assert "ping" not in found.html
    assert f'title="{EVIL}?a=1&amp;b=2"' in found.html


def test_what_mail_is_made_of_stays() -> None:
    """Tables, colours, styles, references to characters, and text with a less-than."""
    html = (
        '<table width="600"><tr><td align="center" style="color: teal">Gr&uuml;&szlig;e &lt; 1 < 2</td></tr>'
        "</table><style>p { color: teal }</style><img src='cid:logo' alt=\"a 'logo'\" width=10>"
    )
    found = preview(read(html, attachments=(image(3),))).html
    assert found == (
        '<table width="600"><tr><td align="center" style="color: teal">Grüße &lt; 1 &lt; 2</td></tr>'
        "</table><style>p { color: teal }</style>"
        f'<img alt="a &#x27;logo&#x27;" width="10" src="data:image/png;base64,{base64.b64encode(b"xxx").decode()}">'
    )


def test_images_from_elsewhere_are_counted(operator: Client) -> None:
    """The page says how many a recipient's reader would load."""
    message = EmailMultiAlternatives("Hello", "Hello", "shop@example.com", ["ann@example.com"])
    message.attach_alternative(f'<img src="{EVIL}"><img src="{EVIL}2"><p>x</p>', "text/html")
    row = queue_message(message)
    text = operator.get(f"/mail/messages/{row.pk}/content/").content.decode()
    assert "2 images from elsewhere are not loaded." in text


def test_one_image_that_is_shown_often_does_not_fill_the_memory(operator: Client) -> None:
    """1.4 MB in the mail made 533 MB on the page."""
    message = EmailMultiAlternatives("Hello", "Hello", "shop@example.com", ["ann@example.com"])
    message.attach_alternative('<img src="cid:logo">' * 5_000, "text/html")
    message.attach(own_image(PIXEL + b"\0" * 1_000_000))
    row = queue_message(message)
    answer = operator.get(f"/mail/messages/{row.pk}/content/html/")
    assert len(answer.content) < 2 * previews.MOST_IMAGE_BYTES
    assert answer.content.count(b"data:image/png") == 4
    assert "larger than this page shows" in operator.get(f"/mail/messages/{row.pk}/content/").content.decode()


@pytest.mark.parametrize(
    "piece", each(["<!--", "<", "</", "<a b='", "<a ", "<style>", "<p =\"' ", "<![", "&", "<a href=x>"], 3)
)
def test_hostile_html_costs_time_in_proportion_to_its_size(piece: str) -> None:
    """A pass that looked back would take hours of this, and the test would not end."""
    found = preview(read("<p>x</p>" + piece * (previews.MOST_HTML_CHARACTERS // len(piece) + 1)))
    assert found.html.startswith("<p>x</p>")
    assert found.is_cut
    assert len(found.links) <= previews.MOST_LINKS


def test_parts_inside_of_parts_without_end_are_shown_as_text(operator: Client) -> None:
    """Three thousand of them were an error of the page."""
    opened = "".join(f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(3_000))
    source = f"Subject: deep\r\n{opened}Content-Type: text/plain\r\n\r\nbottom\r\n".encode()
    found = letter(source)
    assert ("Subject", "deep") in found.headers
    assert "bottom" in (found.text or "")
    message = EmailMultiAlternatives("Hello", "Hello", "shop@example.com", ["ann@example.com"])
    row = queue_message(message)
    OutboxMessage.objects.update(content=source, content_size=len(source))
    for page in ("content", "content/html", "content/source"):
        assert operator.get(f"/mail/messages/{row.pk}/{page}/").status_code == 200


def test_the_name_of_an_attachment_cannot_turn_its_letters(operator: Client) -> None:
    """Right-to-left override makes exe.txt of txt.exe."""
    message = EmailMultiAlternatives("Hello", "Hello", "shop@example.com", ["ann@example.com"])
    message.attach("invoice\u202efdp.exe", b"x", "application/octet-stream")
    row = queue_message(message)
    text = operator.get(f"/mail/messages/{row.pk}/content/").content.decode()
    assert "\u202e" not in text
    assert "invoice\\u202efdp.exe" in text


def test_the_answer_tells_a_browser_to_look_nothing_up(operator: Client) -> None:
    """Names of hosts in text would be asked for."""
    message = EmailMultiAlternatives("Hello", "Hello", "shop@example.com", ["ann@example.com"])
    message.attach_alternative("<p>x</p>", "text/html")
    row = queue_message(message)
    assert operator.get(f"/mail/messages/{row.pk}/content/html/")["X-DNS-Prefetch-Control"] == "off"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (read("<p>" + "x" * 103 * 1024 + "</p>"), "102 KB"),
        (read("<p>x</p>", text=None), "no text part"),
        (read('<a href="http://localhost:8000/reset">x</a>'), "http://localhost:8000/reset"),
        (read("<p>x</p>", List_Unsubscribe="<https://x.example>"), "one click"),
        (read("<p>x</p>", List_Unsubscribe="<https://x.example>", List_Unsubscribe_Post="One-Click"), ""),
        (read('<a href="https://127.example.com/">x</a>'), ""),
    ],
    ids=["clipped", "no-text", "localhost", "two-clicks", "one-click", "nothing"],
)
def test_what_a_person_wants_to_know_before_a_newsletter_goes(given: Letter, words: str) -> None:
    """And nothing where all is well."""
    said = warnings(given, preview(given))
    assert (words in " ".join(said)) if words else said == []


@pytest.mark.parametrize("page", ["suppressions", "people", "messages", "failures"])
def test_a_nul_in_a_search_is_no_outage(operator: Client, page: str) -> None:
    """PostgreSQL refuses it; the page said that the database does not answer."""
    assert operator.get(f"/mail/{page}/", {"q": "a\0b@example.com"}).status_code == 200


def test_images_from_elsewhere_are_loaded_when_they_are_asked_for(operator: Client) -> None:
    """By a form alone, for this view alone, and the record says so; what is no image stays out."""
    message = EmailMultiAlternatives("Hi", "Hello", "shop@example.com", ["ann@example.com"])
    message.attach_alternative(
        '<img src="https://img.example.net/a.png" srcset="https://img.example.net/b.png 2x"><img src="ftp://x/y">'
        '<div style="background:url(https://img.example.net/c.png)"><iframe src="https://evil.example"></iframe>',
        "text/html",
    )
    page = f"/mail/messages/{queue_message(message).pk}/content/html/"
    assert "img.example.net" not in operator.get(page).content.decode()
    answer = operator.post(page)
    text = answer.content.decode()
    assert text.count("example.net") == 1
    assert '<img src="https://img.example.net/a.png">' in text
    assert "ftp:" not in text
    assert "img-src data: https: http:" in answer["Content-Security-Policy"]
    assert "sandbox" in answer["Content-Security-Policy"]
    assert Action.objects.latest("pk").detail["part"] == "html with images from elsewhere"
    assert "img.example.net" not in operator.get(page).content.decode()


def test_no_stranger_can_have_the_images_loaded(db: None) -> None:
    """A form of another site's is refused, and a link loads nothing."""
    number = queue_message(EmailMultiAlternatives("Hi", "Hello", "shop@example.com", ["ann@example.com"])).pk
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("olga"))
    assert client.post(f"/mail/messages/{number}/content/html/").status_code == 403
