"""The record of what people did, the newest first; `outbox.operations.operate` writes it."""

from reliable_email.records import dataclass
from reliable_email.store.questions.queries import ActionStory, action_story, outbox_database
from reliable_email.store.tables.shared import Action

PAGE_ROWS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordPage:
    """Some acts, and the id to ask with for older ones; None where there are none."""

    acts: tuple[ActionStory, ...]
    before: int | None = None


def record(using: str | None = None, *, before: int | None = None) -> RecordPage:
    """A page of the record."""
    rows = Action._base_manager.using(outbox_database(using)).order_by("-id")
    if before is not None:
        rows = rows.filter(pk__lt=before)
    found = [action_story(row) for row in rows[: PAGE_ROWS + 1]]
    is_more = len(found) > PAGE_ROWS
    return RecordPage(acts=tuple(found[:PAGE_ROWS]), before=found[PAGE_ROWS - 1].id if is_more else None)
