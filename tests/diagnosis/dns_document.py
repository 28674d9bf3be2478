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

For operators who set up SPF, DKIM and DMARC, or whose mail ends in the spam folder. After a provider has accepted a
message, the recipient's server asks the DNS of the domain in From whether that provider may send for it. `manage.py
test_email --dns` asks the same questions beforehand, for every route. It needs the extra `[dns]`: `pip install
"django-reliable-email[dns]"`.

| option | meaning |
|---|---|
| `--dns` | look up SPF, DKIM, DMARC and MX; sends a message only if you also give `--to` |
| `--domain DOMAIN` | look up this domain instead of that of `--from` or `DEFAULT_FROM_EMAIL` |
| `--resolver ADDRESS:PORT` | ask this resolver, such as `1.1.1.1`, instead of the machine's own |
| `--resolver-timeout SECONDS` | seconds to wait for one answer, 3 by default; all questions together end within 20 |
| `--selector [ROUTE=]NAME` | a DKIM selector to look up in addition to the provider's usual ones; can be repeated |

The findings are part of the verdict: `✗` makes it DEGRADED or UNHEALTHY, `–` is for your information, and `?` could not
be looked up, which makes the verdict DEGRADED. Without `--dns` nothing is looked up. `--json` has the findings under
`dns`. Records are shown as you should add them; replace the parts in angle brackets with your account's values, which
the provider's console shows.

*Aligned* means that SPF or DKIM authenticates a domain that matches the one in From: the same domain, or with relaxed
alignment (the default) one of the same organization. The organization is found as in RFC 9989, by walking up the DNS
tree: the nearest domain whose DMARC record says `psd=n`, or the one below a `psd=y`, or the highest one that has a
record. The line *Receivers* compares each route with what Gmail, Yahoo and Outlook.com require from senders of 5,000
messages a day, with the date from which they apply, so that a growing site can prepare. SPF lookups are counted for
the worst case, in which only the last mechanism matches. Macros are not followed. The check does not tell whether the
record allows a server of your own.

The outputs on this page are real. Each comes from a run against a DNS server with the defect; the lines before the DNS
check are left out.
"""

_TABLE = """\
## What each provider needs

SPF is checked for the domain in MAIL FROM, which some providers replace: by the account's domain, by the domain that
you set up, or by the provider's own unless you set up a return path below your domain. The listed DKIM selectors are
looked up; give others with `--selector`.

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
