"""What these servers have in common: whom they take, and where they keep it."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

DOMAIN = "example.com"
REFUSALS = {"nouser": (550, "5.1.1 No such user"), "busy": (450, "4.2.1 Mailbox busy")}
_numbers = itertools.count()


def refusal(address: str) -> tuple[int, str] | None:
    """Return what is said to a recipient who is not taken."""
    local, _, domain = address.rpartition("@")
    if domain.lower() != DOMAIN:
        return (550, "5.7.1 Relay not permitted")
    return next((reply for word, reply in REFUSALS.items() if local.startswith(word)), None)


def keep(folder: Path, recipients: Sequence[str], content: bytes) -> None:
    """Keep a message as one file: a line of recipients, then the content."""
    name = f"{os.getpid()}-{next(_numbers)}"
    part = folder / f"{name}.part"
    part.write_bytes(" ".join(recipients).encode() + b"\n" + content)
    part.rename(folder / f"{name}.taken")
