"""How the live demo ends: at the first SIGINT or SIGTERM, in order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Over(BaseException):
    """A signal came; not an error, so that nobody on the way catches it."""


@contextmanager
def until_signal() -> Iterator[None]:
    """Run the block until the first signal; later ones, which make and uv pass on too, change nothing."""

    def told(number: int, frame: FrameType | None) -> None:
        for one in _SIGNALS:
            signal.signal(one, signal.SIG_IGN)
        raise _Over

    for number in _SIGNALS:
        signal.signal(number, told)
    with suppress(_Over):
        yield
