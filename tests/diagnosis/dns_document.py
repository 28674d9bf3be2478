"""docs/deliverability.md, written from the cases, their real outputs, and what is known of the providers."""

from collections.abc import Iterator
from pathlib import Path

from reliable_email import providers
from tests.diagnosis.cases import Case, Chapter
from tests.diagnosis.dns_cases import ARGUMENTS, CHAPTERS
from tests.diagnosis.runs import alike

FILE = Path(__file__).parent.parent.parent / "docs" / "deliverability.md"

_BEGINNING = """\
# Deliverability

A provider that takes a message has not delivered it yet: the recipient's server asks the DNS of the domain in From
whether that provider may send for it. `manage.py test_email --dns` asks the same questions beforehand, of every route.
It needs the extra `[dns]`: `pip install "django-reliable-email[dns]"`.

| option | meaning |
|---|---|
| `--dns` | look at SPF, DKIM, DMARC and MX; sends a message only where `--to` is given too |
| `--domain DOMAIN` | another domain than that of `--from` or `DEFAULT_FROM_EMAIL` |
| `--resolver ADDRESS:PORT` | ask this resolver, such as `1.1.1.1`, in place of the machine's own |
| `--resolver-timeout SECONDS` | for one question, 3 by default; all questions together end within 20 |
| `--selector [ROUTE=]NAME` | a DKIM selector to look for besides the provider's usual ones; may be repeated |

What is found joins the verdict: `✗` is DEGRADED or UNHEALTHY, `–` is to be known, `?` could not be asked and makes the
verdict DEGRADED, since nothing is concluded from silence. Nothing is looked up without `--dns`. `--json` has all of it
under `dns`. Records are shown as they are to be added; what stands in angle brackets is the account's own, and the
provider's console shows it.

*Aligned* means that SPF or DKIM has proven a domain that counts for the one in From: the same, or with relaxed
alignment (the default) one of the same organisation's. The organisation is found as RFC 9989 has it, by a walk up the
DNS tree: the nearest domain whose DMARC record says `psd=n`, the one below a `psd=y`, else the highest that has a
record. The line *Receivers* holds each route against what Gmail, Yahoo and Outlook.com demand of who sends them 5,000
messages a day, with the day since when, before a growing site is refused for it. SPF is counted in the worst case, in
which no mechanism matches before the last; macros are not followed, and whether the record lets a server of your own
send is not evaluated.

The outputs on this page are real: each was printed by a run against a DNS server with that defect. The lines before
the DNS check are left out.
"""

_TABLE = """\
## What each provider needs

What a provider makes of MAIL FROM decides whose SPF record counts: the sender's own domain, the account's, the domain
that was set up, or the provider's own unless a return path is set up below yours. Where it says so, the usual names are
looked up; other selectors can be given by `--selector`.

| provider | MAIL FROM | SPF include | DKIM selectors |
|---|---|---|---|
"""

_MAIL_FROM = {
    "sender": "the sender's",
    "account": "the account's address",
    "domain": "in the domain that was set up",
    "provider": "the provider's own",
}


def document() -> str:
    """The whole page."""
    parts = [part for one in CHAPTERS for part in _chapter(one)]
    return "\n".join([_BEGINNING, *map(_contents, CHAPTERS), _contents(None), "", *parts, _providers()])


def _contents(chapter: Chapter | None) -> str:
    title = chapter.title if chapter is not None else "What each provider needs"
    return f"- [{title}](#{title.lower().replace(' ', '-')})"


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"## {chapter.title}\n"
    yield f"{chapter.text}\n"
    for case in chapter.cases:
        yield _section(case)


def _section(case: Case) -> str:
    story = case.tell()
    shown = alike(story.run.out, ports=story.ports)
    shown = shown[shown.index("4. DNS Check") :]
    text = f"{case.text}\n\n" if case.text else ""
    return f"### {case.title}\n\n{text}```console\n$ python manage.py test_email {ARGUMENTS}\n{shown}\n```\n"


def _providers() -> str:
    rows = []
    for name in providers.names():
        one = providers.get(name)
        if name == "generic":
            continue
        include = "not needed" if one.return_path == "provider" else f"`{one.spf_include}`" if one.spf_include else "–"
        selectors = ", ".join(f"`{each}`" for each in one.dkim_selectors) or "the account's own"
        at = f", or `{one.return_path_label}.` below yours" if one.return_path_label else ""
        rows.append(f"| {one.title} | {_MAIL_FROM[one.return_path]}{at} | {include} | {selectors} |")
    return _TABLE + "\n".join(rows) + "\n"
