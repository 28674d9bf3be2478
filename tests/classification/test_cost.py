"""What hostile text costs: in proportion to its length, or so little that nobody can measure it.

`python -m tests.classification.test_cost` prints the figures.
"""

import contextlib
import smtplib
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from reliable_email import values
from reliable_email.backends.quotas import quotas
from reliable_email.classification import classify, classify_exception
from reliable_email.classification.hints import retry_hint, window_hint
from reliable_email.classification.pasted import read_reply
from reliable_email.classification.words import embedded_status, words
from reliable_email.smtp.charsets import decoded
from reliable_email.smtp.replies import Reply, ReplyError, ReplyParser, parse_reply

HALF, WHOLE = 32 * 1024, 64 * 1024
RUNS = 10
# Below this a difference is noise. A quadratic pattern takes seconds.
UNMEASURABLE_SECONDS = 0.02
# fmt: off
SHAPES = [
    "a", "a  ", "a@", "@", "a.", ".", "1", "1.", "1:", ":", "::1 ", "[", "(", "<", "<a@", '"', '"a', '"a"@', "'",
    "\\'", " ", "\t", "é", "信", "信箱 ", "\u0301", "ﷺ", "\u202e", "\x00", "-", "_", "5.7.1 ", "550 ", "550-", "%20",
    "=", "retry ", "retry in ", "again after 1", "Mon, 25 Aug ", "per ", "password=", "(550, '", '(550, b"a', "a,",
    "user unknown ", "{{", "${a", "\r", "\n",
]
# fmt: on


def exception_about(text: str) -> object:
    """What a foreign backend's refusal with that text means."""
    return classify_exception(smtplib.SMTPDataError(550, text.encode("utf-8", "surrogatepass")))


def parsed(text: str) -> object:
    """The reply that a server makes of the text, in lines as long as it may send."""
    parser = ReplyParser()
    raw = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
    for start in range(0, len(raw), 4096):
        parser.feed(b"550-" + raw[start : start + 4096] + b"\r\n")
    parser.feed(b"550 end\r\n")
    return parser.next_reply()


FUNCTIONS: dict[str, Callable[[str], object]] = {
    "masked": values.masked,
    "printable": values.printable,
    "shown": values.shown,
    "closest": lambda text: values.closest(text, ["host", "password", "final_reply_timeout"]),
    "boolean": values.boolean,
    "integer": values.integer,
    "seconds": values.seconds,
    "choice": lambda text: values.choice(text, ["auto", "plain"]),
    "strings": values.strings,
    "quotas": lambda text: quotas(f"1{text}"),
    "words": words,
    "embedded_status": embedded_status,
    "retry_hint": retry_hint,
    "window_hint": window_hint,
    "classify": lambda text: classify(Reply(550, (text,)), sender_domain="example.com"),
    "classify_lines": lambda text: classify(Reply(550, tuple(text[i : i + 512] for i in range(0, len(text), 512)))),
    "classify_exception": exception_about,
    "read_reply": read_reply,
    "parse_reply": lambda text: parse_reply(f"550 {text}"),
    "ReplyParser": parsed,
    "decoded": lambda text: decoded(text.encode("utf-8", "surrogatepass") + b"\xff"),
    "decoded_gbk": lambda text: decoded(b"\xc7\xeb\xca\xb9" + text.encode("gb18030", "replace")),
}


def seconds_of(function: Callable[[str], object], text: str) -> float:
    """The least time of several runs: the one that was disturbed least."""
    least = float("inf")
    for _ in range(RUNS):
        started = time.thread_time()
        with contextlib.suppress(values.ValueProblem, ReplyError):  # an answer, too
            function(text)
        least = min(least, time.thread_time() - started)
        if least < UNMEASURABLE_SECONDS / 40:
            break
    return least


def costs(function: Callable[[str], object], length: int) -> Iterator[tuple[str, float, float]]:
    """(shape, seconds of a text of that length, seconds of the whole)."""
    for shape in SHAPES:
        text = shape * (WHOLE // len(shape))
        yield shape, seconds_of(function, text[:length]), seconds_of(function, text)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_eight_times_the_text_is_not_sixty_four_times_the_work(name: str) -> None:
    """Whoever can send a text to us must not be able to stop us with it."""
    slow = [
        (shape, short, long)
        for shape, short, long in costs(FUNCTIONS[name], WHOLE // 8)
        if long > UNMEASURABLE_SECONDS and long > 24.0 * short
    ]
    assert not slow


def test_a_reply_is_cut_before_it_is_read_and_kept() -> None:
    """Two KiB of a refusal are read, shown and stored, however much a server says."""
    said = ("x" * 100,) * 600
    failure = classify(Reply(550, (*said, "user unknown")))
    assert failure.reply is not None
    assert len(failure.reply.text) <= 2048
    assert failure.cause.value == "unclassified"


if __name__ == "__main__":
    for one, function in FUNCTIONS.items():
        shape, short, long = max(costs(function, HALF), key=lambda cost: cost[2])
        figures = f"{1e3 * short:8.3f} ms {1e3 * long:8.3f} ms, ratio {long / short:5.2f}"
        sys.stdout.write(f"{one:20} worst with {shape!r:18} {figures}\n")
