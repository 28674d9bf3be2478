"""Real servers as fixtures: one for a module, since starting Postfix takes a second."""

from collections.abc import Iterator

import pytest

from tests.servers.nodemailer import NodemailerSubmission, nodemailer_submission_server
from tests.servers.postfix import MEBIBYTE, PostfixSubmission, postfix_submission_server
from tests.services import require


@pytest.fixture(scope="module")
def postfix_submission() -> Iterator[PostfixSubmission]:
    """Postfix and Dovecot; takes messages up to 32 MiB."""
    require("postfix")
    with postfix_submission_server() as server:
        yield server


@pytest.fixture(scope="module")
def small_postfix_submission() -> Iterator[PostfixSubmission]:
    """Postfix and Dovecot; takes messages up to 1 MiB."""
    require("postfix")
    with postfix_submission_server(message_size_limit=MEBIBYTE) as server:
        yield server


@pytest.fixture(scope="module")
def nodemailer_submission() -> Iterator[NodemailerSubmission]:
    """nodemailer's server with XOAUTH2, by STARTTLS."""
    require("node")
    with nodemailer_submission_server() as server:
        yield server
