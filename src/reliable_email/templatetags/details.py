"""Details that the package wrote down in its own words, in the language of the reader of a page.

Rows, logs and JSON keep it in English; so it is known again by its words. Other people's text, such as a reply of a
server, comes out of it as it went in.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_noop as _

from reliable_email.templatetags.languages import in_language
from reliable_email.templatetags.numbers import decimal, thousands
from reliable_email.templatetags.words import WORDS

# The values of these are the package's own words again.
_NESTED: Final = frozenset({"evidence", "error", "detail", "what"})
_NUMBERS: Final = frozenset({"size", "limit", "count"})
_SHORT: Final = frozenset({"words", "names", "numbers", "number", "who", "moment", "command"})  # they have no semicolon
_TEMPLATES: Final = (
    # people and the queue
    _("held by %(who)s"),
    _("held by %(who)s, act %(number)s"),
    _("cancelled by %(who)s"),
    _("resolved by %(who)s"),
    _("its resend was held by %(who)s"),
    _("its resend was held by %(who)s, act %(number)s"),
    _("its resend was cancelled by %(who)s"),
    _("reported by %(source)s: %(kind)s"),
    _("by hand"),
    _("by hand: %(who)s"),
    _("being erased"),
    _("the address is on the suppression list"),
    _("its content was pruned or deleted"),
    _("its content was emptied"),
    _("the worker was lost after it was permitted to send, and before it noted a reply"),
    _("%(count)s workers were lost while they had this in hand"),
    # acts in the record
    _("everything"),
    _("all mail"),
    _("message %(numbers)s"),
    _("recipient row %(numbers)s"),
    _("no recipient row after %(number)s"),
    _("queued before %(moment)s"),
    _("queued since %(moment)s"),
    _("those %(detail)s"),
    _("states %(words)s"),
    _("causes %(words)s"),
    _("routes %(names)s"),
    _("mailers %(names)s"),
    _("delivering %(names)s"),
    _("environments %(names)s"),
    _("accounts %(names)s"),
    _("streams %(names)s"),
    _("priorities %(words)s"),
    _("recipient %(address)s"),
    _("recipient_part %(address)s"),
    _("sender %(address)s"),
    _("subject %(text)s"),
    _("held_by %(who)s"),
    _("a person (%(digest)s)"),
    # routes
    _("the message's time was over before any route could be asked"),
    _("%(route)s was paused by %(who)s"),
    _("%(route)s is left alone for now for mail of %(domain)s to %(receiver)s, which has refused that sender by it"),
    _("%(route)s is left alone for now for the sender domain %(domain)s, which it has refused"),
    _("%(route)s is left alone for now, since it was asked too often"),
    _("%(route)s is left alone for now: %(cause)s, %(evidence)s"),
    _("the message has %(size)s bytes, %(route)s takes at most %(limit)s"),
    _("the message has %(size)s bytes, the server takes at most %(limit)s"),
    _("the quota of %(route)s is used up for now"),
    _("%(route)s only shows messages, it delivers none"),
    _("the route %(route)s, which may have sent it, is there no more"),
    _("this mailer's only_to does not name the address"),
    _("no other route could be asked meanwhile (%(names)s)"),
    _("nothing was said of this recipient"),
    _("it was never tried"),
    _("the send was interrupted (%(error)s) while the server's reply was waited for"),
    _("the send was interrupted (%(error)s) before the message was handed over"),
    # other people's backends
    _("%(route)s took no message and did not say why"),
    _("%(route)s cannot be used as it is configured: %(error)s"),
    _("%(route)s could not be reached: %(error)s"),
    _("the provider answered “%(reply)s” for this address (it may be on its suppression list)"),
    _("the provider answered “failed” for this address"),
    _("the provider answered “%(reply)s” for this address, which may or may not have the message"),
    _("the provider did not say whether it took the message for this address"),
    _("the site's own receiver of pre_send took this address out of the message"),
    _("the site's own receiver of pre_send cancelled the message"),
    _("the server ended the transaction at another recipient"),
    _("the backend tells of a refusal, but not of this recipient's: %(words)s"),
    # what a probe notes
    _("%(route)s only shows or stores messages and delivers none"),
    _("%(name)s can only be tested by sending a message"),
    _(
        "the certificate breaks a rule of form, %(error)s; chain, dates and host name are good, so it was "
        "accepted. Have it reissued, or set ssl_strict=False to accept it without a note"
    ),
    _("the server's certificate is not verified (ssl_verify is off)"),
    _("ssl_strict is off: the certificate's form is not checked"),
    _(
        "EHLO says %(name)s, because this machine has no full host name; some servers distrust such mail. Set "
        "%(option)s to a name that resolves to the address which the server sees"
    ),
    _("%(host)s has no token to give just now (HTTP %(code)s) %(reply)s"),
    # a mailer that cannot be built
    _("Correct the entry; “manage.py check” says when it is right."),
    _("Install the package that its BACKEND comes from, or correct the path."),
    _("See to what it names, or correct the entry."),
    _("Could not find BACKEND %(name)s: %(detail)s."),
    _("There is no such entry."),
    _("'using' of %(name)s names it, and there is no such entry."),
    _("'using' leads back to itself: %(names)s."),
    _("Unknown option %(name)s."),
    _("Did you mean %(name)s?"),
    _("Known are: %(names)s."),
    _("OPTIONS 'host' is missing."),
    _("Set it, or a 'provider'."),
    _("OPTIONS 'use_tls' and OPTIONS 'use_ssl' are both true."),
    _("Keep use_tls for STARTTLS (usually port 587), or use_ssl for implicit TLS (usually port 465)."),
    _("OPTIONS 'provider': There is no provider %(name)s."),
    _("OPTIONS %(name)s must be a whole number from %(least)s to %(most)s, not %(value)s."),
    _("OPTIONS %(name)s must be a whole number of at least %(least)s, not %(value)s."),
    _("OPTIONS %(name)s must be a number of seconds above zero, not %(value)s."),
    _("OPTIONS %(name)s must be true or false, not %(value)s."),
    _("OPTIONS %(name)s must be text, not %(value)s."),
    _("OPTIONS %(name)s must be one of %(names)s, not %(value)s."),
    _("OPTIONS %(name)s must be a host name alone, without scheme, port or login, not %(value)s."),
    _("OPTIONS %(name)s must be an e-mail address, not %(value)s."),
    _("OPTIONS %(name)s names a file that cannot be read: %(detail)s."),
    # the network
    _(
        "%(host)s did not answer within %(seconds)s s (%(listed)s); a firewall that drops packets is silent like "
        "this (many networks block port 25, and some 465 and 587)"
    ),
    _("no address of %(host)s took the connection (%(listed)s)"),
    _("%(host)s took the connection and closed it at once: %(error)s"),
    _("nothing more came from the server for %(seconds)s s"),
    _(
        "nothing more came from the server for %(seconds)s s (a server that waits for TLS from the first byte is "
        "silent like this: port 465, use_ssl)"
    ),
    _("left behind by a fork"),
    _("setting up the connection failed: %(error)s"),
    _("the permission to hand the message over was not given"),
    _("the connection was given up by this side"),
    _("closed by this side"),
    _("its reply could not be handled: %(error)s"),
    _("all %(count)s connections to %(host)s stayed busy"),
    _("the connection ended before the message's turn"),
    _("the connection broke: %(error)s"),
    _("the server closed the connection"),
    _("the network gave up on the connection (ETIMEDOUT)"),
    _("no host name is given (the option `host`)"),
    _("%(host)s has no address"),
    _("the host %(host)s does not exist (%(error)s); check its spelling"),
    _("the resolver could not say where %(host)s is (%(error)s); is DNS reachable?"),
    _("the resolver did not answer within %(seconds)s s when asked for %(host)s"),
    _("%(host)s was not asked for: %(error)s"),
    _("%(host)s cannot be looked up: %(error)s"),
    # TLS
    _("TLS failed: %(error)s"),
    _("TLS with %(host)s failed: %(error)s"),
    _("the server demands a client certificate (ssl_certfile)"),
    _("%(host)s demands a client certificate (ssl_certfile, ssl_keyfile)"),
    _("%(host)s refuses the client certificate of ssl_certfile (%(error)s)"),
    _("the certificate of %(host)s is refused: %(error)s (X.509 error %(number)s)"),
    _("%(host)s closed the connection during the TLS handshake"),
    _("port %(port)s may not be one where TLS comes first (465 is; 587 wants use_tls)"),
    _("%(error)s: %(host)s took the connection and then fell silent"),
    _("the TLS handshake was not finished within %(seconds)s s"),
    _("the connection broke during the TLS handshake: %(error)s"),
    _("%(host)s is no name that a certificate could carry: %(error)s"),
    _(
        "port %(port)s of %(host)s speaks plaintext first: use STARTTLS there (use_tls in place of use_ssl), or "
        "the port for TLS from the first byte, usually 465"
    ),
    _("%(host)s agreed to STARTTLS and went on in plaintext: a proxy in between, or a broken server"),
    _("%(host)s offers only TLS older than 1.2, which is broken and not used"),
    _(
        "%(host)s found no common ground: it has no cipher that is safe enough, or it demands a client "
        "certificate (ssl_certfile, ssl_keyfile)"
    ),
    _("the server has no certificate for the name %(host)s: is the host right, or is tls_server_name needed?"),
    _("%(host)s failed in its own TLS set-up (internal error); its owner finds the reason in its log"),
    _(
        "the key of %(host)s is %(pin)s, which is not pinned; an attacker may be in between. If the server has a "
        "new key on purpose, put it into ssl_pin"
    ),
    _("the server does not offer STARTTLS (wrong port, or something in between removes it)"),
    _("plaintext followed the 220 of STARTTLS: an attacker may be writing into the connection"),
    # SMTP
    _("the server answered %(reply)s"),
    _("the server answered %(reply)s to %(command)s"),
    _("the server answered %(reply)s to EHLO, and HELO offers no STARTTLS"),
    _("the server answered %(reply)s to EHLO, and HELO offers no login"),
    _("the server said %(reply)s where that answers nothing; its replies cannot be matched any more"),
    _("the peer does not speak SMTP: %(error)s"),
    _("%(what)s needs SMTPUTF8, which the server does not offer"),
    _("the sender address"),
    _("this address"),
    _("the header section"),
    _("the server announced at most %(count)s recipients in one transaction"),
    _("the server announced at most %(count)s recipients' domains in one session"),
    _("the content has bytes over 127, the server does not offer 8BITMIME, and it cannot be re-encoded"),
    _("encoding it would break its signature"),
    _("it cannot be encoded"),
    # the login
    _("no usable way to log in: wanted %(wanted)s, the server offers none at all"),
    _("no usable way to log in: wanted %(wanted)s, the server offers %(offered)s"),
    _("the server goes on asking after %(name)s was given up"),
    _("the connection is not encrypted, so the credentials were not sent"),
    _("%(name)s cannot carry these credentials"),
    _("the server's challenges are none that %(name)s has an answer to, so the login was given up"),
    # OAuth
    _("the token provider gave no access token, but %(kind)s"),
    _("the token endpoint's answer has no access token in it"),
    _("the token endpoint did not answer within %(seconds)s s"),
    _("no access token was asked for: %(error)s"),
    _("%(package)s is not installed (%(error)s): pip install 'django-reliable-email[oauth]'"),
    _("Microsoft gives no token: %(error)s"),
    _("the token endpoint of Google could not be reached"),
    _("the token endpoint of Microsoft could not be reached"),
    _(
        "the service account of %(file)s gives no token for %(user)s (%(error)s): check the file, and the scope "
        "%(scope)s in the domain's delegation"
    ),
    _("the certificate of %(file)s cannot be used for a token (%(error)s): check key, thumbprint and tenant"),
    _("%(file)s cannot be read: %(error)s"),
    _("%(host)s refuses an access token (HTTP %(code)s)"),
    _("%(host)s has no token to give just now (HTTP %(code)s)"),
    _("%(host)s could not be reached for an access token: %(error)s"),
    _("the token URL %(url)s is not https: secrets are not sent there"),
    _("%(host)s did not answer with a JSON object: is the token URL right?"),
    _("%(host)s did not answer within %(seconds)s s when asked for a token"),
    _("the certificate of %(host)s is refused: %(error)s; a proxy that inspects TLS needs its CA given as cafile"),
)
# Bounds on texts that somebody else may have written: parts joined by semicolons, and texts inside of texts.
_PARTS_AT_MOST: Final = 8
_DEPTH_AT_MOST: Final = 3
# What is added to somebody else's words.
_ADDED: Final = "; (?:no other route could be asked meanwhile|its resend was) "


def in_own_words(text: str) -> str:
    """Return a detail in the reader's language, sentence by sentence; what is not known stays as it is."""
    if not text or pgettext("the code of this language", "en") == "en":
        return text
    entry = re.match(r"(?:MAILERS\[[^]]*\]|EMAIL_BACKEND): ", text)
    if entry is not None:  # why it cannot be built: whole sentences
        rest = re.split(r"(?<=[.?!]) (?=[A-Z])", text[entry.end() :])
        return entry[0] + " ".join(_known(one, 0) or one for one in rest)
    return "; ".join(_sentences(text))


def evidence_in_words(text: str, depth: int = 0) -> str:
    """Return the evidence about a route, "at connect: " and what was said, in the reader's language."""
    place, _colon, said = text.partition(": ")
    if not (said and place.startswith("at ")) or pgettext("the code of this language", "en") == "en":
        return in_own_words(text)
    stage = in_language(place.removeprefix("at ").replace("_", " "))
    return gettext("at %(stage)s: %(said)s") % {"stage": stage, "said": "; ".join(_sentences(said, depth))}


def _sentences(text: str, depth: int = 0) -> Iterator[str]:
    """The longest known part first: what is joined by semicolons may have some of its own."""
    added = next((one.start() for one in re.finditer(_ADDED, text)), len(text))
    yield from _joined(text[:added], depth)
    if added < len(text):
        yield from _joined(text[added + 2 :], depth)


def _joined(text: str, depth: int) -> Iterator[str]:
    rest = text
    for _part in range(_PARTS_AT_MOST):
        ends = [one.start() for one in re.finditer("; ", rest)][:_PARTS_AT_MOST]
        for end in (len(rest), *reversed(ends)):
            known = _known(rest[:end], depth)
            if known is not None:
                break
        else:
            end = ends[0] if ends else len(rest)
            known = rest[:end]
        yield known
        rest = rest[end + 2 :]
        if not rest:
            return
    yield rest


def _known(text: str, depth: int) -> str | None:
    plain = gettext(text) if text else text
    if plain != text:
        return plain
    for template, literal, pattern in _patterns():
        found = pattern.fullmatch(text) if literal in text else None
        if found is not None:
            values = {name: _value(name, value, depth) for name, value in found.groupdict().items()}
            return gettext(template) % values
    return None


def _value(name: str, value: str, depth: int) -> str:
    bare = value.replace(",", "")
    if name == "seconds" and re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", value):
        return decimal(float(value))
    if name in _NUMBERS and bare.isdecimal():
        return thousands(int(bare))
    if name == "words":
        return ", ".join(str(WORDS.get(one) or in_language(one.replace("_", " "))) for one in value.split(", "))
    if name == "cause":
        return in_language(value.replace("_", " "))
    if name not in _NESTED or depth >= _DEPTH_AT_MOST:
        return value
    return evidence_in_words(value, depth + 1) if name == "evidence" else "; ".join(_sentences(value, depth + 1))


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str]], ...]:
    """Each template, its longest words, and what matches it; those that say most come first, and the first counts."""
    templates = (one for one in _TEMPLATES if "%(" in one)
    return tuple(map(_compiled, sorted(templates, key=lambda one: -len(re.sub(r"%\(\w+\)s", "", one)))))


def _compiled(template: str) -> tuple[str, str, re.Pattern[str]]:
    literals = re.split(r"%\((\w+)\)s", template)
    pattern = "".join(
        f"(?P<{one}>{'[^;]' if one in _SHORT else '.'}{{1,400}}?)" if number % 2 else re.escape(one)
        for number, one in enumerate(literals)
    )
    return template, max(literals[::2], key=len), re.compile(pattern, re.DOTALL)
