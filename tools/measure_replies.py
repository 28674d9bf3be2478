"""Measures classification against a file of labelled replies: `python tools/measure_replies.py FILE [--misses]`.

FILE is tab-separated with a header line; the columns code, enhanced, text, our_label and, where there is one, provider
are used. The stage is not given, as in most logs. The label "other" means that nobody could tell: right is whatever
claims no cause. Labels may be older than two causes: `sender_not_authenticated` is right where the label names the
sender, `helo_refused` where it is what the code alone gives. An action is right when it is the one that the label's
cause has for a reply of that class, or for a lasting one; for the form of commands, leaving the route is right, too.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from reliable_email.classification import Cause, Failure, Scope, classify
from reliable_email.classification.codes import cause_of_code, cause_of_status
from reliable_email.classification.meanings import MEANINGS, is_permanent
from reliable_email.delivery.policy import Action, action_of
from reliable_email.smtp.syntax.replies import Reply, ReplyError, parse_reply

NOBODY_KNOWS = "other"
EMPTY = Failure(cause=Cause.UNCLASSIFIED, scope=Scope.MESSAGE, permanent=True, certain=True)
SENDERS = ("sender_rejected", "sender_not_verified")


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One row of the file."""

    reply: Reply
    provider: str
    label: str


def read_rows(path: Path) -> Iterator[Labelled]:
    """The rows whose reply can be read."""
    lines = path.read_text("utf-8").splitlines()
    names = lines[0].split("\t")
    for number, line in enumerate(lines[1:], start=2):
        row = dict(zip(names, line.split("\t"), strict=False))
        spelled = " ".join(part for part in (row["code"], row.get("enhanced", ""), row["text"]) if part)
        try:
            reply = parse_reply(spelled)
        except ReplyError as error:
            print(f"line {number} is left out: {error}", file=sys.stderr)
            continue
        yield Labelled(reply=reply, provider=row.get("provider", ""), label=row["our_label"])


def is_right(label: str, failure: Failure) -> bool:
    """Whether the cause is the labelled one."""
    if label == NOBODY_KNOWS:
        return failure.cause is Cause.UNCLASSIFIED
    match failure.cause:
        case Cause.SENDER_NOT_AUTHENTICATED if label in SENDERS:
            return True
        case Cause.HELO_REFUSED if failure.reply is not None:
            reply = failure.reply
            by_code = cause_of_status(reply.code, reply.enhanced, None) or cause_of_code(reply.code, None)[0]
            return label in (by_code.value, failure.cause.value)
    return failure.cause.value == label


def right_actions(label: str, failure: Failure) -> frozenset[Action]:
    """What may be done about a label; all where it does not matter."""
    if label == NOBODY_KNOWS:
        return frozenset(Action)
    # A cause that is right by another name than the label's has its own action.
    cause = failure.cause if is_right(label, failure) else Cause(label)
    code = 550 if failure.reply is None else failure.reply.code
    lasting = {is_permanent(cause, code), is_permanent(cause, 550)}
    right = {
        action_of(replace(EMPTY, cause=cause, scope=MEANINGS[cause].scope, permanent=permanent, reply=failure.reply))
        for permanent in lasting
    }
    if cause is Cause.SYNTAX_OR_UNSUPPORTED:
        right.add(Action.LEAVE_ROUTE)
    return frozenset(right)


def share(part: int, whole: int) -> str:
    """A percentage."""
    return f"{100 * part / whole:5.1f} %" if whole else "    –"


def main() -> int:
    """Print the measurement; 0 unless the file is unusable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--misses", action="store_true", help="print each row that is wrong, and the rule that decided")
    options = parser.parse_args()
    rows = list(read_rows(options.file))
    if not rows:
        print("no rows", file=sys.stderr)
        return 2
    seconds = []
    for _ in range(5):  # the first reads the rules; the best is the one that was disturbed least
        started = time.perf_counter()
        failures = [classify(row.reply, provider=row.provider) for row in rows]
        seconds.append(time.perf_counter() - started)

    confusion: Counter[tuple[str, str]] = Counter()
    causes_right = actions_right = false_unknown = 0
    for row, failure in zip(rows, failures, strict=True):
        confusion[row.label, failure.cause.value] += 1
        cause_ok = is_right(row.label, failure)
        action_ok = action_of(failure) in right_actions(row.label, failure)
        causes_right += cause_ok
        actions_right += action_ok
        false_unknown += failure.cause is Cause.MAILBOX_UNKNOWN and row.label != Cause.MAILBOX_UNKNOWN
        if options.misses and not (cause_ok and action_ok):
            what = "cause " if action_ok else "action" if cause_ok else "both  "
            print(f"{what} {row.label:22} {failure.cause:22} {failure.rule:28} {str(row.reply)[:200]!r}")

    print_confusion(confusion)
    print()
    print(f"replies                {len(rows)}")
    print(f"cause right            {share(causes_right, len(rows))}  ({causes_right})")
    print(f"action right           {share(actions_right, len(rows))}  ({actions_right})")
    print(f"false mailbox_unknown  {false_unknown}")
    print(f"time                   {1e6 * min(seconds) / len(rows):.1f} µs a reply")
    return 0


def print_confusion(confusion: Counter[tuple[str, str]]) -> None:
    """For each label how often it was right, and what it was taken for."""
    labels = Counter[str]()
    for (label, _), count in confusion.items():
        labels[label] += count
    print(f"{'label':24}{'rows':>5}{'right':>9}  taken for")
    for label, total in labels.most_common():
        right = confusion[label, Cause.UNCLASSIFIED.value if label == NOBODY_KNOWS else label]
        taken = ", ".join(
            f"{found} {count}"
            for (wanted, found), count in confusion.most_common()
            if wanted == label and found != label
        )
        print(f"{label:24}{total:5}{share(right, total):>9}  {taken}")


if __name__ == "__main__":
    sys.exit(main())
