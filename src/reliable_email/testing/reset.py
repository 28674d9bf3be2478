"""Forgets everything that the package keeps in the process: connections, TLS contexts, tokens, route state.

Every module with such state has a `reset()` of its own; those that were never imported have nothing to forget, and
are not imported for it.
"""

import sys
from types import FunctionType

_PACKAGE = "reliable_email."
_NOT_STATE = f"{_PACKAGE}testing."  # has a `reset` of another meaning
# Connections go first: closing them may still teach the modules below something.
_FIRST = ("reliable_email.smtp.pool",)


def reset() -> None:
    """Forget all process-wide state, as if the process had just started."""
    names = [
        name
        for name, module in list(sys.modules.items())
        if name.startswith(_PACKAGE) and not name.startswith(_NOT_STATE) and _own_reset(name, module) is not None
    ]
    for name in sorted(names, key=lambda name: (name not in _FIRST, name)):
        forget = _own_reset(name, sys.modules.get(name))
        if forget is not None:
            forget()


def _own_reset(name: str, module: object) -> FunctionType | None:
    forget = getattr(module, "reset", None)
    # Not one that was imported from another module, which is called in its own place, nor one that resets a thing
    # which it is given.
    is_own = isinstance(forget, FunctionType) and forget.__module__ == name and not forget.__code__.co_argcount
    return forget if is_own else None
