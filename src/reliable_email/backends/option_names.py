"""The options of every door, each with what it says: what is known as an option, and what the documentation shows."""

from collections.abc import Mapping
from typing import Final

SMTP_OPTIONS: Final[Mapping[str, str]] = {
    "host": "The server's name or address.",
    "port": "The server's port.",
    "username": "The login. Some providers have a fixed one, which need not be given.",
    "password": "The password, app password or API key.",
    "use_tls": "STARTTLS: TLS after the greeting, usually on port 587.",
    "use_ssl": "TLS from the first byte, usually on port 465.",
    "timeout": "Seconds that one message may take in all: every attempt, DNS, connecting and login.",
    "ssl_certfile": "A PEM file with a client certificate, for servers that want one.",
    "ssl_keyfile": "The PEM file with its key.",
    "fail_silently": "Raise nothing when no recipient took a message; its report tells all the same.",
    "provider": "The name of a known provider, which gives host, port, TLS, limits and quotas.",
    "region": "The provider's region, where it has several.",
    "ssl_verify": "Whether the certificate is verified. Off, there is no login to a remote server without `ssl_pin`.",
    "ssl_cafile": "A PEM file to trust beside the system's authorities: a CA, or the server's own certificate.",
    "ssl_strict": 'Whether the form rules of RFC 5280 must hold too. "auto" gives way where nothing else is wrong.',
    "ssl_pin": "SHA-256 fingerprints of public keys, one of which the server must have; checked before any login.",
    "tls_server_name": "The name that the certificate must have, and SNI, where the host is reached by another one.",
    "auth": 'How to log in: "auto", "plain", "login", "cram-md5", "xoauth2" or "oauthbearer".',
    "token_provider": "Where access tokens come from: a dict with a grant, a dotted path, or an object.",
    "allow_plaintext_auth": "Let the password travel without TLS to another machine. For internal relays alone.",
    "local_hostname": "The name that EHLO says; it should resolve to the address that the server sees.",
    "max_attempts": "Transactions that one direct send may spend on this route. A worker makes one a round.",
    "final_reply_timeout": "Seconds to wait for the answer to the complete message. In a worker FINAL_REPLY_SECONDS.",
    "connections": "Connections that one process keeps open at once.",
    "messages_per_connection": "After so many messages a fresh connection is used.",
    "pipelining": "Whether commands are sent without waiting for each answer, where the server offers it.",
    "chaining": 'Whether the next message\'s envelope stands behind a final dot. "auto" learns where it must not.',
    "flight": "Messages in flight at once by BDAT, for mail that may be sent twice (`on_unknown`). Experimental.",
    "quota": 'Limits per window: "500/day, 30 messages/minute", {"day": 500}, or False for none.',
    "idempotency_header": "A header by which this provider recognises a second copy; False for none.",
    "dsn": 'Notices to ask for (RFC 3461) where the server announces DSN, and nothing elsewhere: {"notify": '
    '"failure,delay", "ret": "hdrs", "envid": "…", "orcpt": True}.',
    "on_unknown": 'What is done with a recipient whose outcome is unknown: "hold" or "resend".',
    "only_to": "Addresses and domains that may get mail by this route; all others are refused, or redirected.",
    "redirect_to": "Where mail for all others goes, with `only_to`.",
}

FAILOVER_OPTIONS: Final[Mapping[str, str]] = {
    "using": "The aliases of the routes, the preferred one first. Required.",
    "timeout": "Seconds that one message may take over all routes.",
    "fail_silently": "Raise nothing when no recipient took a message; its report tells all the same.",
}

OUTBOX_OPTIONS: Final[Mapping[str, str]] = {
    "using": "The alias of the mailer by which the worker delivers. Required.",
    "database": "The alias of the database that holds the outbox.",
    "expires_in": "Give up after this long: a timedelta, or seconds.",
    "priority": 'Of messages that name none: "high", "normal" or "bulk".',
    "on_unknown": 'Of messages that name none: "hold" or "resend".',
    "transactional": "Whether messages join the caller's transaction. False writes by a connection of its own.",
    "fail_silently": "Accepted for Django's sake. What cannot be queued raises all the same.",
}

ERROR_MAIL_OPTIONS: Final[Mapping[str, str]] = {
    "using": "The alias of the mailer that sends.",
    "window": "Seconds in which messages that are alike go out once.",
    "timeout": "Seconds that one message may take, but for the route's `final_reply_timeout`.",
    "fail_silently": "Accepted for Django's sake. This backend never raises.",
}
