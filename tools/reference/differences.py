"""docs/reference/differences.md: what Django's own tests see of our doors."""

from tools.django_tests.run import DOORS, LABELS, expected
from tools.message_tests.expected import EXPECTED
from tools.reference.markdown import code, table

_BEGINNING = """\
# Differences from Django's backends

For developers who replace Django's SMTP backend: every difference that Django's own tests find. `make django-tests`
runs Django's tests, from its source distribution, through this package's backends, on Django 5.2, 6.0 and 6.1. A test
that names Django's SMTP backend gets this package's, and the queue runs with a worker. A failure that is not in this
table fails the run.
"""
_MESSAGES = """\
## In messages

`make message-tests` sends CPython's own test messages and generated ones with Django's SMTP backend and with this
package's (directly, by a failover, by a queue, and over routes of Django's and of anymail), and compares what arrives:
headers, texts, parts, names, and the bytes of what is signed. A difference that is not in this list fails the run:
"""
_KNOWN = """\
## By design

- Connections belong to the process, so `open()` does not keep one for the instance. `connection` only says whether
  one is open.
- A class that overrides `_send()`, `prep_address()`, `connection_class` or `ssl_context` raises an error when you
  create it. A copy of Django's own `send_messages()` works.
- A class derived from `ReliableSMTPBackend` can have options of its own, set attributes, and override `open()` and
  `close()`, which a failover and a worker call too. Its `send_messages()` is called only if the application uses this
  mailer itself. Behind a failover or an outbox, a class with its own `send_messages()` is refused, and the error says
  what to do.
- Behind a failover or an outbox, another package's exceptions don't reach your code. Where it catches
  `anymail.exceptions.AnymailError`, let it catch `DeliveryError` (an `smtplib.SMTPException`): its text has the
  exception's words, and its `report` has each route's answer. `message.anymail_status` is set as before.
- If you send the same message object again, recipients that already have the message are skipped.
- Each entry of `to`, `cc` and `bcc` is one address, as for Django's SMTP backend. `"a@example.com, b@example.com"` in
  one entry is refused, also where a route is django-anymail's, which takes it. So is a group (`crew: a@example.com;`).
- An address whose domain no server can have (`'a@example.com'`, with the quotes in it) is refused; Django sends it.
- A header that holds a control character is refused, and so is one that ends with a line break, which Django 6 sends
  as a part of the text. Strip a subject that comes from a template.
- Domains are written by IDNA 2008, where `faß.example` is not `fass.example`; Django writes them by IDNA 2003.
- A number as a header's value, and lazy texts in alternatives and attachments, are sent; Django 6 raises an error.
- A `message()` without the argument `policy`, as on Django 5.2, goes on working.
- A header `Subject`, or `MIME-Version`, among `headers` wins; Django 6 raises ValueError.
- In a coroutine, a plain `send()` by an outbox raises `SynchronousOnlyOperation`: write `await reliable_email.asend()`.
- A header named `Bcc`, and a name that no header can have (`X A`, `X-Ü`), is refused; Django sends some of them.
- An invalid message raises before any connection is made; the other messages of its batch are sent.
"""


def page() -> str:
    """The whole page."""
    rows = [(code(one["test"]), one["django"], one["reason"]) for one in expected()]
    doors = ", ".join(DOORS)
    told = f"Backends: {doors}. Tests: {', '.join(map(code, LABELS))}.\n"
    found = table(("Django's test", "On", "Why it differs"), rows) if rows else "None of them differs.\n"
    messages = "\n".join(f"- {reason}" for _, reason in EXPECTED) + "\n"
    return "\n".join([_BEGINNING, told, found, _MESSAGES, messages, _KNOWN])
