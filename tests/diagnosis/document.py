"""docs/troubleshooting.md, written from the cases and their real outputs."""

from collections.abc import Iterator
from pathlib import Path

from tests.diagnosis.cases import CHAPTERS, Case, Chapter, story_of
from tests.diagnosis.runs import alike

FILE = Path(__file__).parent.parent.parent / "docs" / "troubleshooting.md"

_BEGINNING = """\
# Troubleshooting

For anyone whose mail does not go out: find the output that you see on this page, with its meaning and the remedy.
`manage.py test_email --to you@example.net` checks a site's configuration, connects to every route, and sends a message.
It needs no tables, sends directly even if the default mailer is an outbox, and shows no password.

| exit code | status | meaning |
|---|---|---|
| 0 | HEALTHY | mail goes out |
| 3 | DEGRADED | mail goes out, but something needs attention, which `Reason:` names |
| 1 | UNHEALTHY | mail does not go out |
| 2 | | the command was called wrongly |

`--check-only` sends no message, `--health-check` shows each stage, `--verbose` shows the conversation, `--route NAME`
tests one route, and `--json` prints JSON for programs. A failure has four parts: the stage, what the server **said**,
what it **means**, and what **to do**.

The outputs on this page are real. Each comes from a run against a server that fails in this way; only times, dates,
fingerprints and port numbers are replaced. The servers ran on the same machine, so their host is localhost.
"""


def document() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING, *map(_contents, CHAPTERS), "", *(part for one in CHAPTERS for part in _chapter(one))])


def _contents(chapter: Chapter) -> str:
    return f"- [{chapter.title}](#{chapter.title.lower().replace(' ', '-')})"


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"## {chapter.title}\n"
    if chapter.text:
        yield f"{chapter.text}\n"
    for case in chapter.cases:
        yield _section(case)


def _section(case: Case) -> str:
    story = story_of(case)
    shown = alike(story.run.out, ports=story.ports, seconds=case.seconds)
    text = f"{case.text}\n\n" if case.text else ""
    return f"### {case.title}\n\n{text}```console\n$ python manage.py test_email {case.arguments}\n{shown}\n```\n"
