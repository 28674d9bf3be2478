"""What Django's settings say: the dict `RELIABLE_EMAIL`, `MAILERS`, and the `EMAIL_*` names where there is no MAILERS.

Only this module and `env` read settings or the environment; everything else is given values.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

PREFIX = "EMAIL_"
FALLBACK_PREFIX = "EMAIL_FALLBACK_"
FALLBACK_SWITCH = "EMAIL_FALLBACK_ENABLED"

# Where the name of an `EMAIL_*` setting is not the option's name in capitals.
_SETTING_NAMES = {"username": "HOST_USER", "password": "HOST_PASSWORD", "max_attempts": "MAX_RETRIES"}
# Options that can be given by an `EMAIL_*` setting or variable. The others need a mailer.
SETTING_OPTIONS = (
    "host",
    "port",
    "username",
    "password",
    "use_tls",
    "use_ssl",
    "timeout",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_verify",
    "max_attempts",
    "provider",
    "region",
    "ssl_cafile",
    "ssl_strict",
    "ssl_pin",
    "auth",
    "token_provider",
    "allow_plaintext_auth",
    "local_hostname",
    "final_reply_timeout",
    "connections",
    "messages_per_connection",
    "quota",
    "on_unknown",
    "only_to",
    "redirect_to",
)
DEFAULT_BACKEND = "django.core.mail.backends.smtp.EmailBackend"


def email_setting_name(option: str, prefix: str = PREFIX) -> str:
    """The `EMAIL_*` name of an option of `ReliableSMTPBackend`."""
    return prefix + _SETTING_NAMES.get(option, option.upper())


def is_set(name: str) -> bool:
    """Whether the project's own settings define a name; Django's defaults do not count."""
    return bool(settings.is_overridden(name)) and hasattr(settings._wrapped, name)


def setting(name: str, default: Any = None) -> Any:
    """A setting that the project itself defines, or the default.

    Django 6.1 warns whoever reads one of the deprecated `EMAIL_*` names through `settings`, and raises where MAILERS is
    defined. The project was warned when it started; reading behind the lazy object does not warn it again.
    """
    return getattr(settings._wrapped, name) if is_set(name) else default


def is_debug() -> bool:
    """Whether this is a development site."""
    return bool(settings.DEBUG)


def mailers() -> Mapping[str, Mapping[str, Any]] | None:
    """The setting MAILERS, on every Django version; None where the project has none."""
    found: Mapping[str, Mapping[str, Any]] | None = setting("MAILERS")
    return found


def email_backend() -> str:
    """The setting EMAIL_BACKEND, of which Django's default is its SMTP backend."""
    return str(setting("EMAIL_BACKEND", DEFAULT_BACKEND))


def email_options(prefix: str = PREFIX) -> dict[str, object]:
    """The options that `EMAIL_*` settings give to `ReliableSMTPBackend`; empty beside MAILERS, where they are errors."""
    if is_set("MAILERS"):
        return {}
    found = {}
    for option in SETTING_OPTIONS:
        value = setting(email_setting_name(option, prefix))
        if value is not None:
            found[option] = value
    return found


def email_fallback_is_enabled() -> bool:
    """The setting EMAIL_FALLBACK_ENABLED; a second provider that is configured counts as enabled unless it says no."""
    from reliable_email.values import boolean

    default = bool(email_options(FALLBACK_PREFIX))
    return not is_set("MAILERS") and boolean(setting(FALLBACK_SWITCH, default))
