"""docs/reference/checks.md: the system checks by id."""

from reliable_email.diagnosis import configuration
from tools.reference.markdown import docstring_table

_BEGINNING = """\
# System checks

`manage.py check` runs them, `manage.py check --deploy` those that are marked so too, and `manage.py test_email` all of
them. They open no connection. E is an error, W a warning, I a piece of information. Each comes with a hint that says
what to do; `SILENCED_SYSTEM_CHECKS` silences warnings that you have judged.

"""


def page() -> str:
    """The whole page."""
    return _BEGINNING + docstring_table(configuration)
