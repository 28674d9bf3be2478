"""The meaning of a reply or an I/O error: cause and scope. Rules are data; nothing here does I/O or decides.

The words are imported at once. What reads the rules is imported when it is first asked for, which a process whose mail
is taken never does: write `classification.classify(…)`, not `from reliable_email.classification import classify`.
"""

from typing import TYPE_CHECKING

from reliable_email import late_names
from reliable_email.classification.causes import Cause, Failure, Scope

if TYPE_CHECKING:
    from reliable_email.classification.decide import classify
    from reliable_email.classification.foreign import classify_exception

_HOMES = {"classify": "decide", "classify_exception": "foreign"}

__all__ = ["Cause", "Failure", "Scope", "classify", "classify_exception"]

__getattr__ = late_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
