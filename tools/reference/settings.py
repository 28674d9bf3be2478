"""docs/reference/settings.md: what can be configured, where, and what holds unless it is."""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import reliable_email
from reliable_email import conf, emailurl, env
from reliable_email.backends import doors, options, tokens
from reliable_email.backends.option_names import ERROR_MAIL_OPTIONS, FAILOVER_OPTIONS, OUTBOX_OPTIONS, SMTP_OPTIONS
from tools.reference.markdown import code, docstring_table, table

_BEGINNING = """\
# Settings

A mailer is an entry of `MAILERS`: a `BACKEND` and its `OPTIONS`. What concerns the whole site, the worker above all, is
in the dictionary `RELIABLE_EMAIL`. An unknown name is an error in both, reported by `manage.py check` with the name
that was probably meant.

```python
MAILERS = {
    "default": {"BACKEND": "reliable_email.backends.OutboxBackend", "OPTIONS": {"using": "routes"}},
    "routes": {"BACKEND": "reliable_email.backends.FailoverBackend", "OPTIONS": {"using": ["gmail", "sendgrid"]}},
    "gmail": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"provider": "gmail", "username": "shop@gmail.com", "password": os.environ["GMAIL_PASSWORD"]},
    },
    "sendgrid": {
        "BACKEND": "reliable_email.backends.ReliableSMTPBackend",
        "OPTIONS": {"provider": "sendgrid", "password": os.environ["SENDGRID_API_KEY"]},
    },
}
RELIABLE_EMAIL = {"ENVIRONMENT": "production"}
```

Django 6.1 opens `MAILERS` by itself. Django 5.2 and 6.0 need `EMAIL_BACKEND =
"reliable_email.backends.DefaultMailer"` beside it.
"""

_BY_PROVIDER = "the provider's, or none"
# Where a default is not a value that the option itself has.
_IN_WORDS = {
    "host": "the provider's; `localhost` with `EMAIL_*` settings",
    "port": ", ".join(f"{port} ({mode.value})" for mode, port in options.DEFAULT_PORTS.items()),
    "username": "the provider's, or none",
    "use_tls": "the provider's, or false",
    "use_ssl": "the provider's, or false",
    "local_hostname": "the machine's full name, or the connection's own address in brackets",
    "connections": _BY_PROVIDER,
    "messages_per_connection": _BY_PROVIDER,
    "quota": _BY_PROVIDER,
    "idempotency_header": _BY_PROVIDER,
    "on_unknown": '`"hold"`',
    "region": "the provider's default",
}
_WHERE: Mapping[str, Callable[[options.SMTPOptions], object]] = {
    "ssl_verify": lambda one: one.connection.tls.verify,
    "ssl_cafile": lambda one: one.connection.tls.cafile,
    "ssl_strict": lambda one: one.connection.tls.strict,
    "ssl_pin": lambda one: one.connection.tls.pins or None,
    "tls_server_name": lambda one: one.connection.tls.server_hostname,
    "ssl_certfile": lambda one: one.connection.tls.certfile,
    "ssl_keyfile": lambda one: one.connection.tls.keyfile,
    "dsn": lambda one: one.connection.dsn,
    "auth": lambda one: one.connection.mechanism,
    "allow_plaintext_auth": lambda one: one.connection.allow_plaintext_auth,
    "final_reply_timeout": lambda one: one.connection.final_reply_timeout,
    "pipelining": lambda one: one.connection.pipelining,
    "chaining": lambda one: one.connection.chaining,
    "flight": lambda one: one.connection.flight,
    "timeout": lambda one: one.timeout,
    "max_attempts": lambda one: one.max_attempts,
    "fail_silently": lambda one: one.fail_silently,
    "only_to": lambda one: one.only_to or None,
    "redirect_to": lambda one: one.redirect_to,
    "provider": lambda one: one.provider,
    "password": lambda one: None,
    "token_provider": lambda one: None,
}


def page() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING, _site(), _smtp(), _doors(), _email_names(), _environment(), _tokens()])


def _site() -> str:
    rows = [
        (code(one.name.upper()), code(_literal(one.default)), f"{one.metadata['help']}{_effect(one.name)}")
        for one in fields(conf.Settings)
    ]
    text = "## RELIABLE_EMAIL\n\nAn unknown key is reported as `reliable_email.E015`, a bad value as `E016`.\n\n"
    return text + table(("Key", "Default", "What it does"), rows)


def _effect(name: str) -> str:
    """An admission where no module asks for a key."""
    source = Path(reliable_email.__file__).parent
    modules = (file for file in source.rglob("*.py") if file.name != "conf.py")
    is_used = any(re.search(rf"\.{name}\b", file.read_text("utf-8")) for file in modules)
    return "" if is_used else " **No effect yet.**"


def _smtp() -> str:
    reading = options.read_smtp_options({"host": "mail.example.com"}, alias="one")
    assert reading.options is not None
    rows = []
    for name, help_text in SMTP_OPTIONS.items():
        default = _IN_WORDS[name] if name in _IN_WORDS else _default(_WHERE[name](reading.options))
        rows.append((code(name), default, help_text))
    text = (
        "## ReliableSMTPBackend\n\n`reliable_email.backends.ReliableSMTPBackend`: sends at once by one SMTP server. "
        "Works without `INSTALLED_APPS`.\n\n"
    )
    return text + table(("Option", "Default", "What it does"), rows)


def _doors() -> str:
    failover, outbox, error_mail = (
        doors.failover_options({"using": ["a"]}, alias="one"),
        doors.outbox_options({"using": "a"}, alias="one"),
        doors.error_mail_options({}, alias="one"),
    )
    parts = [
        _door(
            "FailoverBackend",
            "sends at once by the first route that can, and goes on to the next where the message may pass.",
            FAILOVER_OPTIONS,
            failover,
            {"timeout": "the sum of the routes'"},
        ),
        _door(
            "OutboxBackend",
            "queues in the caller's database and transaction; `manage.py email_worker` delivers. Needs the app's "
            "tables.",
            OUTBOX_OPTIONS,
            outbox,
            {"database": "the router's choice", "expires_in": "`EXPIRES_DAYS`", "on_unknown": "the route's"},
        ),
        _door(
            "ErrorMailBackend",
            "for ADMINS: never raises, takes little time, collapses messages that are alike.",
            ERROR_MAIL_OPTIONS,
            error_mail,
            {"using": "the default mailer", "fail_silently": "`True`"},
        ),
    ]
    return "\n".join(parts)


def _door(name: str, what: str, known: Mapping[str, str], defaults: Any, in_words: Mapping[str, str]) -> str:
    rows = []
    for option, help_text in known.items():
        is_required = help_text.endswith("Required.")
        default = "–" if is_required else in_words.get(option) or _default(getattr(defaults, option))
        rows.append((code(option), default, help_text))
    text = f"## {name}\n\n`reliable_email.backends.{name}`: {what}\n\n"
    return text + table(("Option", "Default", "What it does"), rows)


def _email_names() -> str:
    rows = [
        (
            code(conf.email_setting_name(option)),
            code(conf.email_setting_name(option, conf.FALLBACK_PREFIX)),
            code(option),
        )
        for option in conf.SETTING_OPTIONS
    ]
    text = (
        "## EMAIL_* names\n\n"
        "As **settings** they are read where there is no `MAILERS`, with `EMAIL_BACKEND = "
        '"reliable_email.backends.ReliableSMTPBackend"`. Beside `MAILERS` they are an error (`reliable_email.E017`). '
        "As **environment variables** they are read by `reliable_email.env.mailers()`, on every version of Django:\n\n"
        "```python\nMAILERS = reliable_email.env.mailers(debug=DEBUG)\n```\n\n"
        "`EMAIL_MAX_RETRIES` counts attempts in all, as `max_attempts` does; 0 means one attempt. "
        f"`{conf.FALLBACK_SWITCH}` switches the second provider off (false), or asks for one (true).\n\n"
    )
    return text + table(("Name", "For a second provider", "Option"), rows)


def _environment() -> str:
    return (
        "## Environment variables\n\nEvery name may also be given as `NAME_FILE`, the path of a file with the value. "
        "An empty variable is like one that is not set.\n\n"
        + docstring_table(env)
        + "\n## EMAIL_URL\n\nUser and password are percent-decoded; options stand in the query. Several servers: "
        "`failover(smtps://… submission://…)`.\n\n" + docstring_table(emailurl)
    )


def _tokens() -> str:
    rows = [(code(grant), code(path)) for grant, path in tokens.GRANTS.items()]
    return (
        "## Grants of token_provider\n\n"
        '`{"grant": …, …}` with the arguments of the class behind it; see [Python](python.md#token-providers).\n\n'
        + table(("Grant", "Class"), rows)
    )


def _default(value: object) -> str:
    return "–" if value is None else code(_literal(value))


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else repr(value)
