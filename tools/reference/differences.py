"""docs/reference/differences.md: the differences that Django's own tests find."""

from tools.django_tests.run import DOORS, LABELS, expected
from tools.message_tests.expected import EXPECTED
from tools.reference.markdown import code, table

_BEGINNING = """\
# Differences from Django's backends

For developers who replace Django's SMTP backend: every difference that Django's own tests find. `make django-tests`
runs Django's tests, from its source distribution, with this package's backends in place of Django's SMTP backend, on
Django 5.2, 6.0 and 6.1; a worker delivers what the queue takes. A failure that is not in this table fails the run.
"""
_MESSAGES = """\
## In messages

`make message-tests` sends CPython's own test messages and generated ones with Django's SMTP backend and with this
package's (directly, by a failover, by the queue, and by routes with Django's or anymail's backends), and compares what
arrives: headers, texts, parts, names, and the bytes of signed parts. A difference that is not in this list fails the
run:
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
  `anymail.exceptions.AnymailError`, let it catch `DeliveryError` (an `smtplib.SMTPException`): its text contains the
  exception's message, and its `report` has each route's answer. `message.anymail_status` is set as before.
- If you send the same message object again, recipients that already have the message are skipped.
- Each entry of `to`, `cc` and `bcc` is one address, as for Django's SMTP backend. `"a@example.com, b@example.com"` in
  one entry is refused, also if a route uses django-anymail, which accepts it. So is a group (`crew: a@example.com;`).
- An address whose domain cannot exist (`'a@example.com'`, with the quotes in it) is refused; Django sends it.
- A header with a control character is refused, and so is one that ends with a line break, which Django 6 sends as part
  of the text. Strip a subject that comes from a template.
- Domains are encoded by IDNA 2008, in which `faß.example` is not `fass.example`; Django uses IDNA 2003.
- A number as a header's value, and lazy texts in alternatives and attachments, are sent; Django 6 raises an error.
- A `message()` without the argument `policy`, as on Django 5.2, continues to work.
- A header `Subject` or `MIME-Version` among `headers` takes precedence; Django 6 raises ValueError.
- In a coroutine, a plain `send()` by an outbox raises `SynchronousOnlyOperation`: write `await reliable_email.asend()`.
- A header named `Bcc` is refused, and so are invalid header names (`X A`, `X-Ü`). Django sends some of them.
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
