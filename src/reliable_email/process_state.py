"""The one registry of what lives in a process: what a fork does to it, and how tests forget it.

A child has its parent's memory and none of its threads. A lock that one of those held stays locked for ever, and what
was gathered to be written or told later would be written by each child again. Whatever module keeps either says here
what is to happen.
"""

import os
from collections.abc import Callable

from reliable_email.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The state that one module keeps in the process.

    Attributes:
        name: of the module, for people and tests.
        after_fork: makes it usable in a child; None where it is so anyway.
        reset: forgets it, as if the process had just started; None where there is nothing to forget.
    """

    name: str
    after_fork: Callable[[], object] | None
    reset: Callable[[], object] | None


_states: list[State] = []


def remember(
    name: str, *, after_fork: Callable[[], object] | None = None, reset: Callable[[], object] | None = None
) -> None:
    """Call these in each child, in the order of the calls, and whenever everything is to be forgotten."""
    _states.append(State(name=name, after_fork=after_fork, reset=reset))


def remembered() -> tuple[State, ...]:
    """Everything, in order."""
    return tuple(_states)


def reset() -> None:
    """Forget everything.

    What was remembered last goes first: it stands on the others, and may teach them something while it is closed.
    """
    for state in reversed(_states):
        if state.reset is not None:
            state.reset()


def _forked() -> None:
    for state in tuple(_states):
        if state.after_fork is not None:
            state.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
