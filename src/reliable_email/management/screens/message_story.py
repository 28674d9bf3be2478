"""One message's story for a person's eyes: its recipients, attempts and reports, decrypted where the key is here."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from reliable_email.management.screens.finding import shown_address
from reliable_email.outbox.keyring import KeyMissing, configured_keyring
from reliable_email.store.questions.stories import MessageStory
from reliable_email.values import many, printable

_HEAD = (
    "mailer", "entry_mailer", "environment", "priority", "created_at", "send_at", "expires_at", "sender", "subject",
)  # fmt: skip


def opened(found: MessageStory) -> dict[str, Any]:
    """Return the story as a dict, decrypted if the key is here."""
    told = asdict(found)
    keyring = configured_keyring()

    def clear(text: str) -> str:
        try:
            return keyring.open_text(text, found.encryption_key)
        except KeyMissing:
            return "(encrypted)"

    told["subject"] = clear(found.subject)
    if found.encryption_key:
        for one in (*told["recipients"], *told["attempts"]):
            head, _, sealed = one["reply"].rpartition(" ")
            if sealed.startswith("gAAAA"):  # a Fernet token
                one["reply"] = f"{head} {clear(sealed)}"
        for one in told["events"]:
            if one["detail"]:
                one["detail"] = clear(one["detail"])
    return told


def story_lines(told: dict[str, Any]) -> Iterator[str]:
    """Write out what `opened` returns."""
    yield f"message {told['id']}  {told['message_id']}"
    for name in _HEAD:
        if told[name] not in ("", None):
            yield f"  {name:<12} {printable(str(told[name]))}"
    kept = "kept" if told["has_content"] else "pruned"
    yield f"  {'content':<12} {told['content_size']:,} bytes, {kept}"
    for one in told["recipients"]:
        words = [one["state"], f"by {one['route']}" if one["route"] else "", one["cause"], one["reply"], one["detail"]]
        said = ", ".join(printable(word) for word in words if word)
        due = f", due {one['due_at']}" if one["due_at"] else ""
        yield f"  {shown_address(one['address'])}: {said}, {many(one['attempts'], 'attempt', 'attempts')}{due}"
    for one in told["attempts"]:
        outcomes = ", ".join(f"{shown_address(address)} {outcome}" for address, outcome in one["outcomes"].items())
        yield f"  {one['finished_at']} {one['route']} {one['stage']} {one['seconds']:.3f} s: {outcomes}"
        said = printable(one["reply"] or one["detail"])
        if said:
            yield f"    {said}"
    for one in told["events"]:
        said = f": {printable(one['detail'])}" if one["detail"] else ""
        yield f"  {one['at']} {one['source']} reported: {shown_address(one['address'])} {one['kind']}{said}"
