"""docs/failover.md, written from real runs and from the code."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from reliable_email.delivery.telling.consequences import causes_table
from tests.failover.troubles import RECIPIENT, STAYS, TROUBLES, Story, Trouble, explained, send_through

FILE = Path(__file__).parent.parent.parent / "docs" / "failover.md"

_BEGINNING = """\
# When a provider says no

For sites with two providers, and for those who want to add a second one: which refusals make a message go by the next
route, which don't, and what each provider says when it refuses.

```python
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["first", "second"]}},
    "first": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {
            "provider": "gmail",
            "username": "shop@gmail.com",
            "password": os.environ["GMAIL_APP_PASSWORD"],
        },
    },
    "second": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"provider": "sendgrid", "password": os.environ["SENDGRID_API_KEY"]},
    },
}
```

On Django 5.2 and 6.0, also set `EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"`.

A message uses the first healthy route. If that route refuses the message, the next step depends on what the refusal is
about:

- The route (login, quota, reputation, a server problem): the next route is used at once.
- The recipient or the content: no other route is used, because it would refuse as well and your reputation would
  suffer.
- Not known, because the connection was lost after the message's last byte: no other route is used, because the
  recipient could get two copies. The outcome is `unknown`.

A failing route is closed for a while and is then used again automatically. If you have to correct its configuration,
for example after a refused password, it is used again as soon as the configuration changes.

`manage.py explain_reply "550 5.4.5 ..." --provider gmail --stage final_reply` explains any reply. `manage.py test_email
--route first --to you@example.net` tests one route and explains why it does not work.
"""

_TROUBLES = """\
## What each provider says, and what happens then

Each row is a real run. The first route is a simulated server of the provider; the second route works. `generic` is a
server of no known provider, with replies as Postfix gives them.
"""

_CAUSES = """\
## All causes

"""


def document() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING, _TROUBLES, *_providers(), _CAUSES + causes_table()])


def _providers() -> Iterator[str]:
    for provider, troubles in groupby(TROUBLES, key=lambda one: one.provider):
        told = [(one, send_through(one)) for one in troubles]
        yield f"### {provider}\n"
        yield "| Fault | Reply | Cause | Result |\n|---|---|---|---|"
        for trouble, story in told:
            yield _row(trouble, story)
        quota = next(story for trouble, story in told if trouble.name == "quota")
        command = "python manage.py explain_reply ...  # the reply in the row “quota”"
        yield f"\n```console\n$ {command}\n{_explained(quota, provider)}\n```\n"


def _row(trouble: Trouble, story: Story) -> str:
    failure = story.attempt.failure
    assert failure is not None
    words = str(failure.reply).replace("|", "\\|")
    outcome = story.report.recipients[RECIPIENT]
    then = STAYS.get(trouble.name, f"accepted by {outcome.route}")
    return f"| {trouble.name.replace('_', ' ')} | `{words}` at {failure.stage} | `{failure.cause}` | {then} |"


def _explained(story: Story, provider: str) -> str:
    return "\n".join(line.rstrip() for line in explained(story, provider).strip().splitlines())
