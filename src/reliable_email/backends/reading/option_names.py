"""The options of every backend, each with the help text that the documentation and check hints show."""

from collections.abc import Mapping
from typing import Final

SMTP_OPTIONS: Final[Mapping[str, str]] = {
    "host": "The server's name or address.",
    "port": "The server's port.",
    "username": "The user name to log in with. Leave it out for providers that have a fixed one.",
    "password": "The password, app password or API key.",
    "use_tls": "Use STARTTLS: TLS after the greeting, usually on port 587.",
    "use_ssl": "Use TLS from the first byte, usually on port 465.",
    "timeout": "Seconds that one message may take in total, including all attempts, DNS, connecting and login.",
    "ssl_certfile": "A PEM file with a client certificate, for servers that require one.",
    "ssl_keyfile": "The PEM file with the client certificate's key.",
    "fail_silently": "Don't raise if a message reaches no recipient; its report still has the outcome.",
    "provider": "The name of a known provider. Sets host, port, TLS, limits and quotas.",
    "region": "The provider's region, if it has several.",
    "ssl_verify": "Verify the server's certificate. If False, `ssl_pin` is required to log in to a remote server.",
    "ssl_cafile": "A PEM file to trust in addition to the system's authorities: a CA's or the server's certificate.",
    "ssl_strict": 'Enforce RFC 5280\'s rules of form for certificates. "auto" only warns if nothing else is wrong.',
    "ssl_pin": "SHA-256 fingerprints of public keys. The server must have one of the keys; checked before any login.",
    "tls_server_name": "The name that the certificate must have, also sent as SNI, if it differs from `host`.",
    "auth": 'How to log in: "auto", "plain", "login", "cram-md5", "xoauth2" or "oauthbearer".',
    "token_provider": "The source of access tokens: a dict with a grant, a dotted path, or an object.",
    "allow_plaintext_auth": "Allow sending the password to another machine without TLS. Only for internal relays.",
    "local_hostname": "The host name to send in EHLO. It should resolve to the address that the server sees.",
    "max_attempts": "The maximum number of transactions of a direct send on this route. A worker makes one each time.",
    "final_reply_timeout": "Seconds to wait for the reply to the complete message. A worker uses FINAL_REPLY_SECONDS.",
    "connections": "The maximum number of connections that one process opens at once.",
    "messages_per_connection": "The maximum number of messages sent over one connection.",
    "pipelining": "Send commands without waiting for each reply, if the server offers PIPELINING.",
    "chaining": 'Send the next message\'s envelope together with a final dot. "auto" learns where it fails.',
    "flight": "Messages sent ahead of their replies, by BDAT, if they may be sent twice (`on_unknown`). Experimental.",
    "quota": 'Limits per window: "500/day, 30 messages/minute", {"day": 500}, or False for none.',
    "idempotency_header": "The header by which the provider recognizes a second copy; False for none.",
    "dsn": 'Delivery notices to request (RFC 3461) from a server that announces DSN: {"notify": '
    '"failure,delay", "ret": "hdrs", "envid": "…", "orcpt": True}.',
    "on_unknown": 'The action for a recipient whose outcome is unknown: "hold" or "resend".',
    "only_to": "The addresses and domains that may receive mail by this route. Others are rejected, or redirected.",
    "redirect_to": "The address that receives the mail for all other recipients, with `only_to`.",
}

FAILOVER_OPTIONS: Final[Mapping[str, str]] = {
    "using": "The aliases of the routes, in order of preference. Required.",
    "timeout": "Seconds that one message may take on all routes together.",
    "fail_silently": "Don't raise if a message reaches no recipient; its report still has the outcome.",
}

OUTBOX_OPTIONS: Final[Mapping[str, str]] = {
    "using": "The alias of the mailer that the worker uses to deliver. Required.",
    "database": "The alias of the database that holds the outbox.",
    "expires_in": "The time after which a message expires: a timedelta, or seconds.",
    "priority": 'The default priority of messages: "high", "normal" or "bulk".',
    "on_unknown": 'The default `on_unknown` of messages: "hold" or "resend".',
    "transactional": "Queue messages in the caller's transaction. If False, a separate connection writes them at once.",
    "fail_silently": "Accepted for compatibility with Django. A message that cannot be queued raises anyway.",
}

ERROR_MAIL_OPTIONS: Final[Mapping[str, str]] = {
    "using": "The alias of the mailer that sends.",
    "window": "Seconds in which repeated messages are sent only once.",
    "timeout": "Seconds that one message may take, including the wait for the final reply.",
    "fail_silently": "Accepted for compatibility with Django. This backend never raises.",
}
