"""docs/reference/checks.md: the system checks by id."""

from reliable_email.diagnosis import configuration
from tools.reference.markdown import docstring_table

_BEGINNING = """\
# System checks

For anyone who sees a check's id, or wants to silence one. `manage.py check` runs the checks,
`manage.py check --deploy` also runs those marked (deploy), and `manage.py test_email` runs all of them. They open no
connection to a mail server. E is an error, W a warning, and I information. Each message has a hint that says what to
do. Add the id of a warning that you accept to `SILENCED_SYSTEM_CHECKS`.

"""


def page() -> str:
    """The whole page."""
    return _BEGINNING + docstring_table(configuration)
