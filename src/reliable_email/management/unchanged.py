"""Reasons for which an act changes nothing of a message that is named."""

from collections.abc import Sequence
from dataclasses import replace

from reliable_email.outbox.operations.operate import Act, affected, changeable_messages, without_content
from reliable_email.records import dataclass
from reliable_email.store.questions.filters import Filter, recipients
from reliable_email.store.questions.stories import messages_with_content
from reliable_email.store.sql.bounded import BoundedCount, bounded_count
from reliable_email.values import printable

_NEEDS_CONTENT = (Act.REQUEUE, Act.RESOLVE_RESEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """A message of which nothing was changed, and the reason in a sentence."""

    message: int
    why: str


def unchanged(verb: str, act: Act, chosen: Filter, only: Filter | None, using: str) -> list[Unchanged]:
    """Return the messages that a filter names and of which the act can change nothing.

    Args:
        verb: the subcommand, as the person has written it.
        only: what the subcommand itself leaves out, as a release does what nobody holds.
    """
    if not chosen.ids:
        return []
    able = changeable_messages(act, chosen, using)
    left = [one for one in dict.fromkeys(chosen.ids) if one not in able]
    return [Unchanged(message=one, why=_why(one, verb, act, only, using)) for one in left]


def _why(message: int, verb: str, act: Act, only: Filter | None, using: str) -> str:
    told = f"Message {message} was not changed:"
    alone = Filter(ids=(message,))
    states = set(recipients(alone, using).values_list("state", flat=True))
    words = _listed(sorted(states)) or "nothing any more"
    if only is not None and only.causes:
        if changeable_messages(act, _within(alone, only), using):
            return f"{told} the other options do not choose it."
        return f"{told} it is {words}, and nobody holds it."
    if not states & set(act.states):
        return f"{told} it is {words}, and “{verb}” changes only what is {_listed(act.states)}."
    if act in _NEEDS_CONTENT and not messages_with_content([message], using):
        return f"{told} its content was deleted, so it cannot be sent again."
    if not changeable_messages(act, alone, using):
        return f"{told} it is {words}, and no second copy waits; “resolve” records what became of it."
    if only is not None and not changeable_messages(act, _within(alone, only), using):
        return f"{told} its mailer does not use that route."
    return f"{told} the other options do not choose it."


def _within(alone: Filter, only: Filter) -> Filter:
    return replace(only, ids=alone.ids)


def why_not(
    verb: str, act: Act, chosen: Filter, *, wide: Filter, only: Filter | None, route: str, count: int, using: str
) -> str:
    """Return why an act by a filter changes nothing, or less than the filter names; "" where there is nothing to say.

    Args:
        verb: the subcommand, as the person has written it.
        wide: the filter as the person has written it: without what the subcommand, and the site's environment, add.
        only: what the subcommand itself leaves out.
        route: of a requeue by one route alone.
        count: of the recipients that it changes.
    """
    gone = without_content(act, chosen, using)
    if gone:
        is_one = gone.count == 1
        its = "its message" if is_one else "their messages"
        return f"{_many(gone)} cannot be sent to again, since the content of {its} was deleted."
    if count:
        return ""
    here = replace(wide, environments=chosen.environments)
    matching = bounded_count(recipients(here, using).order_by())
    if not matching:
        elsewhere = bounded_count(recipients(wide, using).order_by())
        if elsewhere:
            return f"{_many(elsewhere)} {_match(elsewhere)} in other environments: add --all-environments."
        return "No recipient matches."
    told = f"{_many(matching)} {_match(matching)};"
    if only is not None and only.causes:
        return f"{told} none of them is held."
    if route and affected(act, here, using=using):
        return f"{told} none of them is of a mailer that sends by the route {printable(route)!r}."
    if recipients(here, using).filter(state__in=act.states).exists():
        return f"{told} what is unknown has no second copy that waits; “resolve” records what became of it."
    return f"{told} “{verb}” changes only what is {_listed(act.states)}."


def _many(count: BoundedCount) -> str:
    return f"{count} recipient{'' if count.count == 1 else 's'}"


def _match(count: BoundedCount) -> str:
    return "matches" if count.count == 1 else "match"


def _listed(names: Sequence[str]) -> str:
    """Names as one says them: "parked, queued or unknown"."""
    *most, last = names or ("",)
    return f"{', '.join(most)} or {last}" if most else last
