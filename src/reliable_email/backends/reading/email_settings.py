"""The `EMAIL_*` settings as options of `ReliableSMTPBackend`, for projects without MAILERS."""

from typing import Final

from reliable_email import conf
from reliable_email.backends.reading.options import SMTP_OPTIONS
from reliable_email.values import boolean, is_empty

PREFIX: Final = "EMAIL_"
FALLBACK_PREFIX: Final = "EMAIL_FALLBACK_"
FALLBACK_SWITCH: Final = "EMAIL_FALLBACK_ENABLED"
# The options that can be given by an `EMAIL_*` setting or variable. The others need a mailer.
SETTING_OPTIONS: Final = tuple(option.name for option in SMTP_OPTIONS.values() if option.from_setting)


def email_setting_name(option: str, prefix: str = PREFIX) -> str:
    """Return the `EMAIL_*` name of an option; one that has none is called as if it had."""
    return prefix + (SMTP_OPTIONS[option].from_setting or option.upper())


def email_options(prefix: str = PREFIX) -> dict[str, object]:
    """The options that `EMAIL_*` settings give to `ReliableSMTPBackend`; none beside MAILERS, where they are errors."""
    if conf.is_set("MAILERS"):
        return {}
    found = {}
    for option in SETTING_OPTIONS:
        value = conf.setting(email_setting_name(option, prefix))
        if not is_empty(value):
            found[option] = value
    if str(found.get("max_attempts")) == "0":
        found["max_attempts"] = 1  # who wants no retries has counted retries, as the setting's name says
    return found


def email_names_beside_mailers() -> list[str]:
    """The `EMAIL_*` settings that have no effect since there is a MAILERS, sorted."""
    if not conf.is_set("MAILERS"):
        return []
    names = {
        *(email_setting_name(option, prefix) for option in SETTING_OPTIONS for prefix in (PREFIX, FALLBACK_PREFIX)),
        FALLBACK_SWITCH,
        "EMAIL_BACKEND",
        "EMAIL_FILE_PATH",
    }
    return sorted(filter(conf.is_set, names))


def email_fallback_is_enabled() -> bool:
    """The setting EMAIL_FALLBACK_ENABLED; a second provider that is configured counts as enabled unless it says no."""
    if conf.is_set("MAILERS"):
        return False
    value = conf.setting(FALLBACK_SWITCH)
    return bool(email_options(FALLBACK_PREFIX)) if is_empty(value) else boolean(value)
