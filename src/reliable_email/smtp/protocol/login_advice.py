"""Advice after a failed login, from the offered mechanisms, the supported ones and the configuration.

Nothing here shows a password, or where in it something stands.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator

from reliable_email.patterns import pattern
from reliable_email.smtp.options import Credentials
from reliable_email.smtp.protocol.auth import PASSWORD_MECHANISMS, TOKEN_MECHANISMS, ways

_QUOTES = "\"'`“”„‟‘’‚«»"
_PLACEHOLDER = pattern(r"\$\{\w+\}|\$[A-Z][A-Z_]{2,}|\{\{.*\}\}|<[^<>]+>|%\(\w+\)s|%[A-Z_]+%", re.DOTALL)
_PERCENT = pattern(r"%[0-9A-Fa-f]{2}")
_KNOWN = (
    f"{', '.join(PASSWORD_MECHANISMS[:-1])} and {PASSWORD_MECHANISMS[-1]} with a password, "
    f"{' and '.join(TOKEN_MECHANISMS)} with an access token"
)


def where_nothing_fits(
    offered: Collection[str], credentials: Credentials, wanted: str, *, is_secure: bool, offers_starttls: bool
) -> str:
    """Return advice for a server that offers no usable mechanism.

    Args:
        offered: what it offers.
        credentials: whose.
        wanted: "auto", or the one that is configured.
        is_secure: whether TLS is on.
        offers_starttls: whether it could be.
    """
    if not offered:
        return _nothing_offered(is_secure=is_secure, offers_starttls=offers_starttls)
    names = ", ".join(offered)
    others = ways(offered, credentials)
    if wanted.lower() != "auto" and others:
        return (
            f'The server offers {names}, and auth="{wanted.lower()}" allows none of them: '
            f'set auth="{others[0].lower()}", or leave auth out.'
        )
    if credentials.token_provider is None and any(name in TOKEN_MECHANISMS for name in offered):
        known = [name for name in offered if name in PASSWORD_MECHANISMS]
        if not known:
            return f"The server offers {names}: it wants an access token, so set token_provider in place of password."
    if credentials.token_provider is not None and any(name in PASSWORD_MECHANISMS for name in offered):
        return f"The server offers {names}: it takes no access tokens, so set password in place of token_provider."
    if any(name in PASSWORD_MECHANISMS + TOKEN_MECHANISMS for name in offered):
        return (
            f"The server offers {names}, which cannot carry these credentials: user name, password or token holds a "
            f"control character."
        )
    text = f"The server offers {names}; this package knows {_KNOWN}."
    if not is_secure and offers_starttls:
        return f"{text} Set use_tls: many servers offer more once the connection is encrypted."
    return f"{text} Ask the server's administrator to enable PLAIN or LOGIN, or use another of its ports."


def _nothing_offered(*, is_secure: bool, offers_starttls: bool) -> str:
    if not is_secure and offers_starttls:
        return "The server offers no login before TLS, but it offers STARTTLS: set use_tls."
    where = "here" if is_secure else "here, and no STARTTLS either"
    return (
        f"The server offers no login {where}. If it knows its clients by their address, leave username and password "
        f"out; otherwise take its port for submission: 587 with use_tls, or 465 with use_ssl."
    )


def after_refusal(
    offered: Collection[str], credentials: Credentials, wanted: str, tried: Collection[str], *, is_judged: bool
) -> str:
    """Return advice after a refused AUTH.

    Args:
        offered: what the server offers.
        credentials: whose.
        wanted: "auto", or the one that is configured.
        tried: the mechanisms that were refused, in order.
        is_judged: whether the server speaks of the credentials, rather than of the mechanism.
    """
    names = ", ".join(offered)
    said = " and ".join(tried)
    others = [name for name in ways(offered, credentials) if name not in tried]
    hint = credentials_hint(credentials)
    if is_judged:
        return hint
    text = f"The server offers {names} and refused {said}; this package knows {_KNOWN}."
    if others:
        text += f' Set auth="{others[0].lower()}".'
    return f"{text} {hint}".strip()


def credentials_hint(credentials: Credentials) -> str:
    """Describe oddities of the user name or the password without showing them; "" if there are none."""
    found = [
        f"The {name} {' and '.join(oddities)}"
        for name, value in (("password", credentials.password), ("user name", credentials.username))
        if (oddities := list(_oddities(value)))
    ]
    if not found:
        return ""
    return f"{'. '.join(found)}: was it copied or read along with it?"


def _oddities(value: str) -> Iterator[str]:
    if not value:
        return
    if "\n" in value or "\r" in value:
        yield "holds a line end"
    inner = value.strip("\r\n")
    if inner != inner.strip():
        yield "begins or ends with a blank"
    bare = inner.strip()
    if len(bare) > 1 and (bare[0] in _QUOTES or bare[-1] in _QUOTES):
        yield "begins or ends with a quotation mark"
    if _PLACEHOLDER.fullmatch(bare):
        yield "looks like a placeholder that was not filled in"
    elif _PERCENT.search(bare):
        yield "holds a percent-encoded character, as in a URL"
    kinds = {_kind(character) for character in value}
    for kind, words in _KINDS.items():
        if kind in kinds:
            yield words


_KINDS = {
    "space": "holds a no-break space or another blank that is not the ordinary one",
    "invisible": "holds an invisible character (zero width, byte order mark, direction mark)",
    "control": "holds a control character",
    "undecoded": "holds bytes that are not UTF-8",
}


def _kind(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Zs", "Zl", "Zp") and character != " ":
        return "space"
    if category == "Cf":
        return "invisible"
    if category == "Cc" and character not in "\r\n":
        return "control"
    return "undecoded" if category == "Cs" else ""
