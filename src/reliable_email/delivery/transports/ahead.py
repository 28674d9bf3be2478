"""Loading of what a later delivery may need, ahead of it.

Mail that is taken needs neither the rules for replies nor TLS, so both are imported, and read from their files, when
they are first asked for. A process that runs for weeks must not wait for that, since a deploy replaces the files under
it: what it loaded then, with a reply in hand, would be of another version, or missing. A worker loads all of it at its
start, and a process that sends directly behind its second message.
"""

from functools import cache
from importlib import import_module

from reliable_email.classification.rulebook import loose_rulebook, rulebook
from reliable_email.providers import catalogue

_MODULES = (
    "idna",
    "reliable_email.classification.decide",
    "reliable_email.delivery.transports.foreign",
    "reliable_email.smtp.oauth.access_tokens",
    "reliable_email.smtp.oauth.grants",
    "reliable_email.smtp.tls.handshake",
    "reliable_email.smtp.tls.pins",
)


@cache
def load() -> None:
    """Import and read all of it, once in a process."""
    for name in _MODULES:
        import_module(name)
    rulebook()
    loose_rulebook()
    catalogue.read()
