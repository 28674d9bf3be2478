"""docs/reference/settings.md: what can be configured, where, and what holds unless it is."""

import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import reliable_email
from reliable_email import conf, env
from reliable_email.backends.reading import email_settings, email_url, route_options, tokens
from reliable_email.backends.reading.options import (
    ERROR_MAIL_OPTIONS,
    FAILOVER_OPTIONS,
    OUTBOX_OPTIONS,
    SMTP_OPTIONS,
    Option,
)
from tools.reference.markdown import code, docstring_table, table

_BEGINNING = """\
# Settings

For anyone who configures the package: every option of its backends, every key of `RELIABLE_EMAIL`, and every
environment variable. A mailer is an entry of `MAILERS` with a `BACKEND` and `OPTIONS`. Settings of the whole site,
most of them for the worker, are keys of the dictionary `RELIABLE_EMAIL`. `manage.py check` reports an unknown name in
either, with the name that you probably meant.

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

Django 6.1 reads `MAILERS`. On Django 5.2 and 6.0, also set `EMAIL_BACKEND = "reliable_email.backends.DefaultMailer"`.
"""

_BY_PROVIDER = "the provider's, or none"
# Where a default is not a value that the option itself has.
_IN_WORDS = {
    "host": "the provider's; `localhost` with `EMAIL_*` settings",
    "port": ", ".join(f"{port} ({mode.value})" for mode, port in route_options.DEFAULT_PORTS.items()),
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


def page() -> str:
    """The whole page."""
    return "\n".join([_BEGINNING, _site(), _smtp(), _doors(), _email_names(), _environment(), _tokens()])


def _site() -> str:
    rows = [
        (code(one.name.upper()), code(_literal(one.default)), f"{one.metadata['help']}{_effect(one.name)}")
        for one in fields(conf.Settings)
    ]
    text = "## RELIABLE_EMAIL\n\nAn unknown key is reported as `reliable_email.E015`, an invalid value as `E016`.\n\n"
    return text + table(("Key", "Default", "What it does"), rows)


def _effect(name: str) -> str:
    """An admission where no module asks for a key."""
    source = Path(reliable_email.__file__).parent
    modules = (file for file in source.rglob("*.py") if file.name != "conf.py")
    is_used = any(re.search(rf"\.{name}\b", file.read_text("utf-8")) for file in modules)
    return "" if is_used else " **No effect yet.**"


def _smtp() -> str:
    text = (
        "## ReliableSMTPBackend\n\n`reliable_email.backends.ReliableSMTPBackend` sends directly through one SMTP "
        "server. "
        "Works without `INSTALLED_APPS`.\n\n"
    )
    return text + _options(SMTP_OPTIONS, _IN_WORDS)


def _doors() -> str:
    parts = [
        _door(
            "FailoverBackend",
            "sends directly by the first healthy route, and uses the next one if a refusal is about the route.",
            FAILOVER_OPTIONS,
            {"timeout": "the sum of the routes'"},
        ),
        _door(
            "OutboxBackend",
            "queues messages in the caller's database and transaction; `manage.py email_worker` delivers them. Needs "
            "the app's tables.",
            OUTBOX_OPTIONS,
            {"database": "the router's choice", "expires_in": "`EXPIRES_DAYS`", "on_unknown": "the route's"},
        ),
        _door(
            "ErrorMailBackend",
            "sends error mail to ADMINS. It never raises, takes little time, and sends repeated messages once.",
            ERROR_MAIL_OPTIONS,
            {"using": "the default mailer"},
        ),
    ]
    return "\n".join(parts)


def _door(name: str, what: str, known: Mapping[str, Option], in_words: Mapping[str, str]) -> str:
    return f"## {name}\n\n`reliable_email.backends.{name}` {what}\n\n" + _options(known, in_words)


def _options(known: Mapping[str, Option], in_words: Mapping[str, str]) -> str:
    rows = []
    for option in known.values():
        is_required = option.help.endswith("Required.")
        default = "–" if is_required else in_words.get(option.name) or _default(option.default)
        rows.append((code(option.name), default, option.help))
    return table(("Option", "Default", "What it does"), rows)


def _email_names() -> str:
    rows = [
        (
            code(email_settings.email_setting_name(option)),
            code(email_settings.email_setting_name(option, email_settings.FALLBACK_PREFIX)),
            code(option),
        )
        for option in email_settings.SETTING_OPTIONS
    ]
    text = (
        "## EMAIL_* names\n\n"
        "As **settings**, these names are read if there is no `MAILERS`, with `EMAIL_BACKEND = "
        '"reliable_email.backends.ReliableSMTPBackend"`. With `MAILERS` they are an error (`reliable_email.E017`). '
        "As **environment variables**, `reliable_email.env.mailers()` reads them on every version of Django:\n\n"
        "```python\nMAILERS = reliable_email.env.mailers(debug=DEBUG)\n```\n\n"
        "`EMAIL_MAX_RETRIES` is the total number of attempts, like `max_attempts`; 0 means one attempt. "
        f"`{email_settings.FALLBACK_SWITCH}` disables the second provider (false) or requires one (true).\n\n"
    )
    return text + table(("Name", "For a second provider", "Option"), rows)


def _environment() -> str:
    return (
        "## Environment variables\n\nInstead of any `NAME` you can set `NAME_FILE` to the path of a file with the "
        "value. "
        "An empty variable counts as not set.\n\n"
        + docstring_table(env)
        + "\n## EMAIL_URL\n\nPercent-encode user and password, and write options in the query. For several servers, "
        "write `failover(smtps://… submission://…)`.\n\n" + docstring_table(email_url)
    )


def _tokens() -> str:
    rows = [(code(grant), code(path)) for grant, path in tokens.GRANTS.items()]
    return (
        "## Grants of token_provider\n\n"
        '`{"grant": …, …}` with the arguments of the class: see [Python](python.md#token-providers).\n\n'
        + table(("Grant", "Class"), rows)
    )


def _default(value: object) -> str:
    return "–" if value in (None, "", ()) else code(_literal(value))


def _literal(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else repr(value)
