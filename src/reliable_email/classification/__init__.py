"""The meaning of a reply or an I/O error: cause and scope. Rules are data; nothing here does I/O or decides.

The words are imported at once. What reads the rules is imported when it is first asked for, which a process whose mail
is taken never does: write `classification.classify(…)`, not `from reliable_email.classification import classify`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reliable_email.classification.causes import Cause, Failure, Scope

if TYPE_CHECKING:
    from reliable_email.classification.decide import classify
    from reliable_email.classification.foreign import classify_exception

_HOMES = {"classify": "decide", "classify_exception": "foreign"}

__all__ = ["Cause", "Failure", "Scope", "classify", "classify_exception"]


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
