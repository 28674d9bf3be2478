"""`record`: a dataclass that nobody changes, where a message makes so many that guarding each costs as much as sending.

To the type checker it is `dataclass`, `frozen=True` and all, and an assignment is an error. At run time nothing stands
guard: a frozen dataclass sets each field by a call of its own, three times the work of a plain one.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["record"]

T = TypeVar("T")

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, eq: bool = True, **options: Any) -> Callable[[type[T]], type[T]]:
        """Make a dataclass like `dataclasses.dataclass`; `frozen` is True."""
        assert frozen, "what may change is a plain dataclass"
        # What is frozen and compared can be hashed, here as there.
        return dataclass(eq=eq, unsafe_hash=eq, **options)
