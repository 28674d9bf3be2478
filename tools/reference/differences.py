"""docs/reference/differences.md: what Django's own tests see of our doors."""

from tools.django_tests.run import DOORS, LABELS, expected
from tools.reference.markdown import code, table

_BEGINNING = """\
# Differences from Django's backends

`make django-tests` runs tests of Django itself, from its source distribution, with one of this package's doors between
them and the memory in which they look; where a test names Django's SMTP backend it gets this package's. The queue has a
worker of its own. It runs on Django 5.2, 6.0 and 6.1, and a failure that is not in this table fails the run.
"""
_KNOWN = """\
## By design

- `open()` does not keep a connection for the instance: the process has them. `connection` is only whether one is open.
- A class that overrides `_send()`, `prep_address()`, `connection_class` or `ssl_context` is refused when it is made.
- A class derived from `ReliableSMTPBackend` may have options of its own, set attributes, and replace `open()` and
  `close()`, which a failover and a worker call, too. A `send_messages()` of its own is called only where the
  application uses this very mailer; behind a failover or an outbox such a class is refused, with what to do.
- Sending the same letter again, by the same message object, skips the recipients that have it.
- An invalid message raises before any connection, and the others of its batch are sent.
"""


def page() -> str:
    """The whole page."""
    rows = [(code(one["test"]), one["django"], one["reason"]) for one in expected()]
    doors = ", ".join(DOORS)
    told = f"Doors: {doors}. Tests: {', '.join(map(code, LABELS))}.\n"
    found = table(("Django's test", "On", "Why it differs"), rows) if rows else "None of them differs.\n"
    return "\n".join([_BEGINNING, told, found, _KNOWN])
