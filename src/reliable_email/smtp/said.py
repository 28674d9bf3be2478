"""The conversation on the wire, for people: kept as it passes, written out only after a failure."""

from collections.abc import Sequence

from reliable_email.smtp.syntax.replies import Reply

MOST_LINES = 60
_FIRST_LINES = 20  # of a longer one; the rest is its end, where it failed
_LINE_CHARACTERS = 300

# A command as it was written, a reply whose secrets were taken out, or our own words.
Said = bytes | Reply | str


def dialogue(lines: Sequence[Said]) -> str:
    """Some lines: `C:` is said by the client, `S:` by the server, in the order of the wire.

    A pipelined group stands before all of its replies, as it was sent.
    """
    if len(lines) <= MOST_LINES:
        return "\n".join(map(_shown, lines))
    left_out = len(lines) - MOST_LINES
    first, last = lines[:_FIRST_LINES], lines[_FIRST_LINES + left_out :]
    return "\n".join([*map(_shown, first), f"({left_out} lines)", *map(_shown, last)])


def _shown(line: Said) -> str:
    match line:
        case bytes():
            text = f"C: {line.decode('utf-8', 'replace').rstrip()}"
        case Reply():
            text = f"S: {line}"
        case _:
            text = line
    return text[:_LINE_CHARACTERS]
