"""docs/reference/logins.md: the login mechanisms, the providers that offer each, and the meaning of each answer."""

from reliable_email import providers
from reliable_email.smtp.options import Credentials
from reliable_email.smtp.protocol import auth, login_advice
from reliable_email.smtp.syntax.replies import parse_reply
from tools.reference.markdown import table

_BEGINNING = """\
# Logins

For anyone who configures a login, or whose login is refused: the login mechanisms, and what the package does about each
answer. It logs in only over TLS or to a server on the same machine, unless you set `allow_plaintext_auth`. With
`auth="auto"`, the default, it uses the first mechanism of this table that the server offers and for which the
credentials are given. Any other value of `auth` allows only that mechanism.

"""
_FIRST = """\
A process tries new credentials on one connection first. Other connections wait for the result, for at most one stage of
their own time, and a refusal counts for all of them.
"""
_DOES = {
    "PLAIN": "User name and password in one line, in UTF-8.",
    "LOGIN": "User name, then password, whatever the server's challenges say.",
    "CRAM-MD5": "A digest of the password and the server's challenge, if nothing better is offered.",
    "XOAUTH2": "An access token; a refused one is renewed once.",
    "OAUTHBEARER": "An access token as in RFC 7628, if XOAUTH2 is not offered or is refused.",
}
_NEEDS = {True: "`token_provider`", False: "`password`"}
_UNKNOWN = ("SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "NTLM", "GSSAPI", "EXTERNAL")
_ANSWERS = (
    ("235 2.7.0 Authentication successful", "Continues: the login has succeeded."),
    (
        "334 (any text)",
        "Sends the mechanism's next answer; after the last one, sends `*`, which cancels the login.",
    ),
    ("530 5.7.0 Authentication required", ""),
    ("530 5.7.0 Must issue a STARTTLS command first", ""),
    ("534 5.7.9 Application-specific password required", ""),
    ("535 5.7.8 Authentication credentials invalid", ""),
    ("538 5.7.11 Encryption required for requested authentication mechanism", ""),
    ("500 5.5.1 Command unrecognized", ""),
    ("501 5.5.4 Syntax error", ""),
    ("502 5.5.1 Not implemented", ""),
    ("503 5.5.1 Bad sequence of commands", ""),
    ("504 5.5.4 Unrecognized authentication type", ""),
    ("553 5.3.0 Auth failure", ""),
    ("451 auth mode unsupported", ""),
    ("454 4.7.0 Temporary authentication failure", ""),
    ("the connection ends", "Tries again, as after any lost connection."),
)


def page() -> str:
    """The whole page."""
    found = [providers.get(name) for name in providers.names()]
    rows = []
    for name in (*auth.PASSWORD_MECHANISMS, *auth.TOKEN_MECHANISMS):
        offered_by = [f"`{one.name}`" for one in found if name.lower() in one.auth]
        needs = _NEEDS[name in auth.TOKEN_MECHANISMS]
        rows.append((f"`{name}`", f'`"{name.lower()}"`', needs, ", ".join(offered_by) or "–", _DOES[name]))
    mechanisms = table(("Mechanism", "`auth`", "Needs", "Providers that document it", "What is sent"), rows)
    answers = table(
        ("Answer to AUTH", "What the package does"), [(f"`{said}`", done or _done(said)) for said, done in _ANSWERS]
    )
    unknown = table(("The only mechanism", "Message"), [(f"`{name}`", _advice(name)) for name in _UNKNOWN])
    return "\n".join(
        [
            _BEGINNING + mechanisms,
            "## What each answer means\n",
            answers,
            _FIRST,
            "## Unsupported mechanisms\n",
            unknown,
        ]
    )


def _done(said: str) -> str:
    reply = parse_reply(said)
    if auth.is_verdict(reply):
        return "The credentials are refused: tries nothing else, and closes the route until they change."
    if auth.speaks_of_mechanism(reply):
        return "The mechanism is refused: tries one more that both sides support, then the login has failed."
    if auth.asks_for_tls(reply):
        return "The connection needs TLS: closes the route. The credentials may be right."
    return "A temporary problem: tries again later."


def _advice(name: str) -> str:
    credentials = Credentials(username="user", password="password")
    return login_advice.where_nothing_fits((name,), credentials, "auto", is_secure=True, offers_starttls=False)
