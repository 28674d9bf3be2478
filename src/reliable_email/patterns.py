"""`pattern`: a regular expression that is compiled when it is first used.

Compiling one takes up to a millisecond, and most of those in this package read replies and values that few processes
ever see. To the type checker it is `re.compile`.
"""

import re
from typing import TYPE_CHECKING, Any

__all__ = ["pattern"]

if TYPE_CHECKING:
    from re import compile as pattern
else:

    class pattern:  # noqa: N801 - a stand-in for a function
        """Text of a regular expression, and, once one of its methods was called, the methods of the compiled one."""

        def __init__(self, text: str | bytes, flags: int = 0) -> None:
            self.pattern = text
            self._flags = flags

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)  # what copying and pickling ask for, of one that has no text yet
            # Found in the instance from now on, so that the second call costs what one of a compiled pattern does.
            found = getattr(re.compile(self.pattern, self._flags), name)
            setattr(self, name, found)
            return found

        def __reduce__(self) -> tuple[Any, ...]:
            return re.compile, (self.pattern, self._flags)
