"""The pictures of the explanations, each drawn by a function: docs/explanation/*.svg."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.reference.drawing import WIDTH, Sheet

DOCS = Path(__file__).parents[2] / "docs"
FOLDER = DOCS / "explanation"
_MIDDLE = WIDTH / 2


def outcomes() -> str:
    """From the commit to one outcome for each recipient."""
    sheet = Sheet("After the commit each recipient is queued, and ends in exactly one of five outcomes.", 372)
    sheet.box(20, 20, 220, 58, "your transaction", ["orders, users, messages"])
    sheet.box(300, 20, 200, 58, "rolled back", ["nothing is sent"])
    sheet.arrow((240, 49), (298, 49))
    sheet.arrow((130, 78), (130, 116))
    sheet.text(142, 102, "commit: from here nothing is lost")
    sheet.box(20, 118, 220, 64, "queued", ["tried by each route,", "now and later"], "way")
    sheet.box(300, 118, 200, 64, "parked", ["no route can take it:", "waits for a person"], "wait")
    sheet.arrow((240, 140), (298, 140))
    sheet.arrow((298, 160), (242, 160))
    sheet.arrow((130, 182), (130, 222), (_MIDDLE, 222), kind="line")
    ends = [
        ("accepted", ["a server took it"], "good"),
        ("rejected", ["with proof"], "bad"),
        ("unknown", ["the reply was lost"], "wait"),
        ("expired", ["time was up"], "box"),
        ("cancelled", ["by a person"], "box"),
    ]
    for number, (name, words, kind) in enumerate(ends):
        row, column = divmod(number, 3)
        x, y = 20 + column * 165, 244 + row * 62
        sheet.box(x, y, 150, 50, name, words, kind)
        if row == 0:
            sheet.arrow((x + 75, 222), (x + 75, y - 2))
    sheet.arrow((95, 222), (425, 222), kind="line")
    sheet.text(350, 325, "each recipient ends")
    sheet.text(350, 343, "in exactly one")
    return sheet.svg()


def dialogue() -> str:
    """Where a lost connection leaves which knowledge."""
    sheet = Sheet("Between the final dot and its reply a sender cannot know whether the server has the message.", 336)
    left, right = 90.0, 300.0
    for x, name in ((left, "client"), (right, "server")):
        sheet.text(x, 30, name, kind="name", anchor="middle")
        sheet.arrow((x, 40), (x, 318), kind="line")
    for top, height, kind, name, words in (
        (48, 92, "good", "not sent", ["lost here: safe", "to try again"]),
        (150, 92, "wait", "unknown", ["lost here: it may", "be there, or not"]),
        (252, 62, "good", "known", ["the reply counts"]),
    ):
        sheet.box(360, top, 140, height, name, words, kind)
    sheet.text(195, 66, "MAIL, RCPT, DATA", anchor="middle")
    sheet.arrow((left, 74), (right - 2, 74))
    sheet.text(195, 112, "content", anchor="middle")
    sheet.arrow((left, 120), (right - 2, 120))
    sheet.text(195, 164, "the final dot", anchor="middle")
    sheet.arrow((left, 172), (right - 2, 172))
    sheet.text(right - 8, 210, "stores the message", anchor="end")
    sheet.text(195, 246, "250 taken", anchor="middle")
    sheet.arrow((right, 254), (left + 2, 254))
    return sheet.svg()


def boundaries() -> str:
    """What stands between a message and those who have no business with it."""
    sheet = Sheet("A message passes from your code through the package to a provider; each boundary has a guard.", 444)
    stations = [
        ("forms, users, webhooks", ["strangers"], "bad"),
        ("your site", ["holds credentials and content"], "way"),
        ("database, logs, pages", ["staff, backups"], "box"),
        ("the network", ["strangers"], "bad"),
        ("your provider", ["reads mail, as TLS ends here"], "box"),
    ]
    guards = [
        ["addresses and headers checked,", "events signed"],
        ["contents encrypted, secrets redacted,", "permissions, every reading recorded"],
        ["TLS verified before any credential,", "no fall-back to clear text"],
        ["replies parsed within limits,", "a budget of time"],
    ]
    for number, (name, words, kind) in enumerate(stations):
        sheet.box(20, 20 + 88 * number, 216, 52, name, words, kind)
    for number, lines in enumerate(guards):
        y = 72 + 88 * number
        sheet.arrow((128, y), (128, y + 34))
        for row, line in enumerate(lines):
            sheet.text(252, y + 12 + 18 * row, line)
    return sheet.svg()


def experiments() -> str:
    """Where each experiment strikes."""
    sheet = Sheet("Each part of a message's way is broken by an experiment, and the two ends are compared.", 420)
    stations = [
        ("your code", ["killed while it queues"], "box"),
        ("the queue", ["four databases; tables locked,", "restarted, rolled back"], "way"),
        ("the worker", ["killed and suspended at each step"], "way"),
        ("the connection", ["cut after every byte, both ways"], "way"),
        ("the server", ["simulated with faults; real ones killed"], "box"),
    ]
    for number, (name, words, kind) in enumerate(stations):
        y = 20 + 78 * number
        sheet.box(20, y, 300, 62, name, words, kind)
        if number:
            sheet.arrow((170, y - 16), (170, y - 2))
    words = ["what the reports", "say, with what", "the server has:", "lost, twice,", "contradicted"]
    sheet.box(364, 130, 136, 168, "compared", words, "good")
    sheet.arrow((320, 51), (432, 51), (432, 128))
    sheet.arrow((320, 363), (432, 363), (432, 300))
    return sheet.svg()


def round_trips() -> str:
    """What a message costs over a warm connection."""
    sheet = Sheet("Django waits for the network four times for each message, this package once.", 318)
    turns = {
        "Django": [("MAIL", "250"), ("RCPT", "250"), ("DATA", "354"), ("content", "250")],
        "this package": [("content, MAIL, RCPT, DATA", "all replies")],
    }
    for column, (name, steps) in enumerate(turns.items()):
        left, right = 40 + column * 250, 230 + column * 250
        sheet.text((left + right) / 2, 30, name, kind="name", anchor="middle")
        for x in (left, right):
            sheet.arrow((x, 44), (x, 284), kind="line")
        for number, (said, answered) in enumerate(steps):
            y = 66 + 58 * number
            sheet.text((left + right) / 2, y - 6, said, anchor="middle")
            sheet.arrow((left, y), (right - 2, y))
            sheet.text((left + right) / 2, y + 20, answered, anchor="middle")
            sheet.arrow((right, y + 26), (left + 2, y + 26))
        count = len(steps)
        sheet.text((left + right) / 2, 306, f"{count} round trip{'s' * (count > 1)} a message", anchor="middle")
    return sheet.svg()


def killed() -> str:
    """What becomes of twenty messages, by the first row of the comparison."""
    row = re.search(
        r"^\| `kill -9` in the middle of a batch of 20.*$", (DOCS / "comparison.md").read_text("utf-8"), re.MULTILINE
    )
    assert row, "docs/comparison.md has no row of kill -9"
    cells = [cell.strip() for cell in row[0].strip("|").split("|")][1:]
    sheet = Sheet("Twenty messages and a killed process: how many arrive once, twice, or not, by three queues.", 232)
    for number, (name, cell) in enumerate(
        zip(("django-reliable-email", "django-post_office", "django-mailer"), cells, strict=True)
    ):
        arrived, twice, unknown = (
            int(found[1]) if (found := re.search(pattern, cell)) else 0
            for pattern in (r"(\d+) of 20 arrived", r"(\d+) twice", r"(\d+) declared unknown")
        )
        top = 20 + 64 * number
        sheet.text(20, top + 12, name, kind="name")
        for at in range(20):
            kind = "good" if at < arrived - twice - unknown else "wait" if at < arrived else "zone"
            sheet.frame(20 + 24 * at, top + 20, 20, 20, kind)
            if arrived - twice <= at < arrived:
                sheet.text(30 + 24 * at, top + 35, "2", anchor="middle")
            elif kind == "wait":
                sheet.text(30 + 24 * at, top + 35, "?", anchor="middle")
    sheet.text(20, 218, "green: once · 2: twice · ?: declared unknown · dashed: never sent")
    return sheet.svg()


PICTURES: Mapping[str, Callable[[], str]] = {
    "outcomes.svg": outcomes,
    "dialogue.svg": dialogue,
    "boundaries.svg": boundaries,
    "experiments.svg": experiments,
    "round-trips.svg": round_trips,
    "killed.svg": killed,
}
