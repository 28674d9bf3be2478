"""The pages of docs/reference, written from the code."""

from collections.abc import Callable, Mapping

from tools.reference import causes, checks, commands, differences, logins, providers, python, settings, states

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "checks.md": checks.page,
    "commands.md": commands.page,
    "causes.md": causes.page,
    "logins.md": logins.page,
    "providers.md": providers.page,
    "python.md": python.page,
    "states.md": states.page,
    "differences.md": differences.page,
}
