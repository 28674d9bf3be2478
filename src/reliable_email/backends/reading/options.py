"""Every option of every backend, once: its name, what reads it, its default, its `EMAIL_*` name and its help.

The doors read by these tables, `email_settings` and `env` take the `EMAIL_*` names from them, check hints and the
documentation their texts. To add an option, add a row here and use its value in `route_options` or `doors`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from reliable_email.backends.reading.option_values import (
    address,
    address_patterns,
    auto_or_boolean,
    certificate_name,
    dsn,
    duration,
    ehlo_name,
    flight,
    header_name,
    host_name,
    mechanism,
    on_unknown,
    one_alias,
    pins,
    port,
    positive,
    priority,
)
from reliable_email.backends.reading.quotas import quotas
from reliable_email.backends.reading.tokens import token_provider
from reliable_email.delivery.submission import Priority
from reliable_email.values import boolean, existing_file, seconds, secret, strings, text


@dataclass(frozen=True, slots=True)
class Option:
    """One option of one backend.

    Attributes:
        name: the option's name in OPTIONS.
        read: makes a value of what a person wrote, or raises `ValueProblem`.
        default: the value if the option is not given; where a provider or another mailer has one, that wins.
        from_setting: the option's `EMAIL_*` name after the prefix; empty if only a mailer can have it.
        help: what the option does, for the documentation and for check hints.
    """

    name: str
    read: Callable[[object], Any]
    default: Any = None
    from_setting: str = ""
    help: str = ""


def _table(*options: Option) -> Mapping[str, Option]:
    return {option.name: option for option in options}


SMTP_OPTIONS: Final = _table(
    Option("host", host_name, default="", from_setting="HOST", help="The server's name or address."),
    Option("port", port, from_setting="PORT", help="The server's port."),
    Option(
        "username",
        secret,
        default="",
        from_setting="HOST_USER",
        help="The user name to log in with. Leave it out for providers that have a fixed one.",
    ),
    Option("password", secret, default="", from_setting="HOST_PASSWORD", help="The password, app password or API key."),
    Option(
        "use_tls", boolean, from_setting="USE_TLS", help="Use STARTTLS: TLS after the greeting, usually on port 587."
    ),
    Option("use_ssl", boolean, from_setting="USE_SSL", help="Use TLS from the first byte, usually on port 465."),
    Option(
        "timeout",
        seconds,
        default=15.0,
        from_setting="TIMEOUT",
        help="Seconds that one message may take in total, including all attempts, DNS, connecting and login.",
    ),
    Option(
        "ssl_certfile",
        existing_file,
        from_setting="SSL_CERTFILE",
        help="A PEM file with a client certificate, for servers that require one.",
    ),
    Option(
        "ssl_keyfile", existing_file, from_setting="SSL_KEYFILE", help="The PEM file with the client certificate's key."
    ),
    Option(
        "fail_silently",
        boolean,
        default=False,
        help="Don't raise if a message reaches no recipient; its report still has the outcome.",
    ),
    Option(
        "provider",
        text,
        from_setting="PROVIDER",
        help="The name of a known provider. Sets host, port, TLS, limits and quotas.",
    ),
    Option("region", text, from_setting="REGION", help="The provider's region, if it has several."),
    Option(
        "ssl_verify",
        boolean,
        default=True,
        from_setting="SSL_VERIFY",
        help="Verify the server's certificate. If False, `ssl_pin` is required to log in to a remote server.",
    ),
    Option(
        "ssl_cafile",
        existing_file,
        from_setting="SSL_CAFILE",
        help="A PEM file to trust in addition to the system's authorities: a CA's or the server's certificate.",
    ),
    Option(
        "ssl_strict",
        auto_or_boolean,
        default="auto",
        from_setting="SSL_STRICT",
        help='Enforce RFC 5280\'s rules of form for certificates. "auto" only warns if nothing else is wrong.',
    ),
    Option(
        "ssl_pin",
        pins,
        default=(),
        from_setting="SSL_PIN",
        help="SHA-256 fingerprints of public keys. The server must have one of the keys; checked before any login.",
    ),
    Option(
        "tls_server_name",
        certificate_name,
        from_setting="TLS_SERVER_NAME",
        help="The name that the certificate must have, also sent as SNI, if it differs from `host`.",
    ),
    Option(
        "auth",
        mechanism,
        default="auto",
        from_setting="AUTH",
        help='How to log in: "auto", "plain", "login", "cram-md5", "xoauth2" or "oauthbearer".',
    ),
    Option(
        "token_provider",
        token_provider,
        from_setting="TOKEN_PROVIDER",
        help="The source of access tokens: a dict with a grant, a dotted path, or an object.",
    ),
    Option(
        "allow_plaintext_auth",
        boolean,
        default=False,
        from_setting="ALLOW_PLAINTEXT_AUTH",
        help="Allow sending the password to another machine without TLS. Only for internal relays.",
    ),
    Option(
        "local_hostname",
        ehlo_name,
        from_setting="LOCAL_HOSTNAME",
        help="The host name to send in EHLO. It should resolve to the address that the server sees.",
    ),
    Option(
        "max_attempts",
        positive,
        default=3,
        from_setting="MAX_RETRIES",
        help="The maximum number of transactions of a direct send on this route. A worker makes one each time.",
    ),
    Option(
        "final_reply_timeout",
        seconds,
        default=60.0,
        from_setting="FINAL_REPLY_TIMEOUT",
        help="Seconds to wait for the reply to the complete message. A worker uses FINAL_REPLY_SECONDS.",
    ),
    Option(
        "connections",
        positive,
        from_setting="CONNECTIONS",
        help="The maximum number of connections that one process opens at once.",
    ),
    Option(
        "messages_per_connection",
        positive,
        from_setting="MESSAGES_PER_CONNECTION",
        help="The maximum number of messages sent over one connection.",
    ),
    Option(
        "pipelining",
        boolean,
        default=True,
        help="Send commands without waiting for each reply, if the server offers PIPELINING.",
    ),
    Option(
        "chaining",
        auto_or_boolean,
        default="auto",
        help='Send the next message\'s envelope together with a final dot. "auto" learns where it fails.',
    ),
    Option(
        "flight",
        flight,
        default=0,
        help="Messages sent ahead of their replies, by BDAT, if they may be sent twice (`on_unknown`). Experimental.",
    ),
    Option(
        "quota",
        quotas,
        default=(),
        from_setting="QUOTA",
        help='Limits per window: "500/day, 30 messages/minute", {"day": 500}, or False for none.',
    ),
    Option(
        "idempotency_header",
        header_name,
        help="The header by which the provider recognizes a second copy; False for none.",
    ),
    Option(
        "dsn",
        dsn,
        help="Delivery notices to request (RFC 3461) from a server that announces DSN: "
        '{"notify": "failure,delay", "ret": "hdrs", "envid": "…", "orcpt": True}.',
    ),
    Option(
        "on_unknown",
        on_unknown,
        from_setting="ON_UNKNOWN",
        help='The action for a recipient whose outcome is unknown: "hold" or "resend".',
    ),
    Option(
        "only_to",
        address_patterns,
        default=(),
        from_setting="ONLY_TO",
        help="The addresses and domains that may receive mail by this route. Others are rejected, or redirected.",
    ),
    Option(
        "redirect_to",
        address,
        from_setting="REDIRECT_TO",
        help="The address that receives the mail for all other recipients, with `only_to`.",
    ),
)

FAILOVER_OPTIONS: Final = _table(
    Option("using", strings, default=(), help="The aliases of the routes, in order of preference. Required."),
    Option("timeout", seconds, help="Seconds that one message may take on all routes together."),
    Option(
        "fail_silently",
        boolean,
        default=False,
        help="Don't raise if a message reaches no recipient; its report still has the outcome.",
    ),
)

OUTBOX_OPTIONS: Final = _table(
    Option("using", one_alias, default="", help="The alias of the mailer that the worker uses to deliver. Required."),
    Option("database", text, help="The alias of the database that holds the outbox."),
    Option("expires_in", duration, help="The time after which a message expires: a timedelta, or seconds."),
    Option(
        "priority",
        priority,
        default=Priority.NORMAL,
        help='The default priority of messages: "high", "normal" or "bulk".',
    ),
    Option("on_unknown", on_unknown, help='The default `on_unknown` of messages: "hold" or "resend".'),
    Option(
        "transactional",
        boolean,
        default=True,
        help="Queue messages in the caller's transaction. If False, a separate connection writes them at once.",
    ),
    Option(
        "fail_silently",
        boolean,
        default=False,
        help="Accepted for compatibility with Django. A message that cannot be queued raises anyway.",
    ),
)

ERROR_MAIL_OPTIONS: Final = _table(
    Option("using", one_alias, default="", help="The alias of the mailer that sends."),
    Option("window", seconds, default=300.0, help="Seconds in which repeated messages are sent only once."),
    Option(
        "timeout",
        seconds,
        default=5.0,
        help="Seconds that one message may take, including the wait for the final reply.",
    ),
    Option(
        "fail_silently",
        boolean,
        default=True,
        help="Accepted for compatibility with Django. This backend never raises.",
    ),
)
