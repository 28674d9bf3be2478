"""Replies in the ways in which many kinds of servers put them, each with what it means."""

from pathlib import Path

import pytest

from reliable_email.classification import classify
from reliable_email.smtp.syntax.replies import parse_reply

LINES = Path(__file__).with_name("corpus.tsv").read_text("utf-8").splitlines()


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.replace("\t", ": ")[:70])
def test_a_reply_means_what_it_says(line):
    """The words decide the cause, with no stage and no provider known."""
    cause, reply = line.split("\t")
    failure = classify(parse_reply(reply))
    assert failure.cause.value == cause, failure.rule
