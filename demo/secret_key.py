"""A secret key that nobody has to think of: made at the first start, the same for every process after it."""

import contextlib
import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key


def kept_in(file: Path) -> str:
    """The key in the file, which only its owner may read; written when there is none."""
    # Written aside and linked, so that two processes which start together agree on one whole key.
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        return file.read_text()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(get_random_secret_key())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()
    return file.read_text()
