"""The one registry of what lives in a process: what a fork does to it.

A child has its parent's memory and none of its threads. A lock that one of those held stays locked for ever, and what
was gathered to be written or told later would be written by each child again. Whatever module keeps either says here
what is to happen; `reliable_email.testing.reset` forgets the rest by the modules' own `reset`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What one module keeps.

    Attributes:
        name: of the module, for people and tests.
        after_fork: makes it usable in a child.
    """

    name: str
    after_fork: Callable[[], object]


_states: list[State] = []


def remember(name: str, *, after_fork: Callable[[], object]) -> None:
    """Call this in each child from now on, in the order of the calls."""
    _states.append(State(name=name, after_fork=after_fork))


def remembered() -> tuple[State, ...]:
    """Everything, in order."""
    return tuple(_states)


def _forked() -> None:
    for state in tuple(_states):
        state.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
