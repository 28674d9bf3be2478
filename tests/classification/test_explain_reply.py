"""The command `explain_reply`: words for people, JSON for programs, and no crash on odd input."""

import io
import json
import sys

import pytest
from django.core.management import CommandError, call_command

from reliable_email.management.commands.explain_reply import Command


def explain(*arguments):
    """What the command prints."""
    output = io.StringIO()
    call_command(Command(stdout=output), *arguments)
    return output.getvalue()


@pytest.fixture
def standard_input(monkeypatch):
    """Gives the command bytes to read."""

    def give(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))

    return give


def test_a_quota_is_explained_to_a_person():
    """Meaning, scope, what the package does, what the person should do, and the rule that decided."""
    text = explain("550 5.4.5 Daily user sending quota exceeded", "--provider", "gmail", "--stage", "final_reply")
    assert "quota_exceeded" in text
    assert "route" in text
    assert "Uses the next route" in text
    assert "24 hours" in text
    assert "google.daily-limit" in text


def test_a_guess_is_called_a_guess():
    """Where only the class digit decided, the text says so."""
    assert "guess" in explain("571 xyzzy")
    assert "guess" not in explain("550 5.1.1 User unknown")


def test_one_reply_as_json():
    """The same as one JSON object."""
    found = json.loads(explain("451 4.7.1 Greylisted, try again in 300 seconds", "--json"))
    assert found["cause"] == "greylisted"
    assert found["scope"] == "recipient"
    assert found["action"] == "retry_later"
    assert found["permanent"] is False
    assert found["certain"] is True
    assert found["retry_after"] == 300
    assert found["rule"] == "greylisted"
    assert found["help"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Give a reply"),
        (("hello",), "three-digit code"),
        (("250 ok",), "no refusal"),
        (("550 no", "--provider", "gmial"), "Did you mean 'gmail'"),
        (("550 no", "--stage", "dot"), "final_reply"),
        (("550 no", "--batch"), "no reply as well"),
        (("--batch", "/does/not/exist"), "Cannot read"),
    ],
)
def test_bad_input_is_a_usage_error(arguments, words):
    """Exit status 2 and a sentence that helps."""
    with pytest.raises(CommandError, match=words) as caught:
        explain(*arguments)
    assert caught.value.returncode == 2


@pytest.mark.parametrize("reply", ["550 5.1.1 Empf\udce4nger unbekannt", "550 \u202e\x1b[2J\x07 no", "550 \U0001f4a9"])
def test_odd_characters_are_escaped(reply):
    """A server's words cannot write to the terminal or break the output."""
    text = explain(reply)
    assert "\x1b" not in text
    assert "\u202e" not in text
    text.encode("utf-8")


def test_a_batch_answers_each_line(standard_input):
    """One line of ASCII for each line of input, also for lines that make no sense."""
    lines = [
        b'{"stage": "rcpt", "provider": null, "reply": "550 5.1.1 No such user"}',
        b'{"stage": null, "provider": "mx.example.org", "reply": "550 SPF fail \xff\xc3\xa4"}',
        b'{"reply": "421 4.7.0 Too many connections"}',
        b"no JSON",
        b"",
        b"[1, 2]",
        b'{"reply": 550}',
        b'{"reply": "hello"}',
        b'{"reply": "550 no", "stage": "moon"}',
        b'{"reply": "550 no", "provider": 7}',
        b'{"reply": "\\ud800 550 no"}',
        b"[" * 100_000,
        b'{"reply": "451 4.3.0 try later"}',
    ]
    standard_input(b"\n".join(lines))
    output = explain("--batch")
    assert output.isascii()
    answers = [json.loads(line) for line in output.splitlines()]
    assert len(answers) == len(lines)
    causes = [answer.get("cause") for answer in answers[:3]]
    assert causes == ["mailbox_unknown", "sender_not_authenticated", "connection_limit"]
    assert {"cause", "scope", "action", "permanent", "certain", "retry_after", "rule"} <= answers[0].keys()
    assert all(list(answer) == ["error"] for answer in answers[3:10])
    assert "error" in answers[11]
    assert answers[12]["cause"] == "system_temporary"


def test_a_batch_from_a_file(tmp_path):
    """A file works as standard input does, with or without a final line end."""
    path = tmp_path / "replies.jsonl"
    path.write_bytes(b'{"reply": "552 5.2.2 Mailbox full"}\r\n{"reply": "550 Relaying denied"}')
    causes = [json.loads(line)["cause"] for line in explain("--batch", str(path)).splitlines()]
    assert causes == ["mailbox_full", "relay_denied"]


def test_an_overlong_line_is_one_line(standard_input):
    """A line without end is cut and answered once."""
    standard_input(b'{"reply": "' + b"x" * 1_000_000 + b'"}\n{"reply": "550 5.1.1 No such user"}\n')
    answers = [json.loads(line) for line in explain("--batch").splitlines()]
    assert len(answers) == 2
    assert "error" in answers[0]
    assert answers[1]["cause"] == "mailbox_unknown"
