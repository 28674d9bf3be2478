"""`test_email --dns`: what is wrong with the sender's domain, said before receivers say it."""

import pytest

from tests.diagnosis.cases import Case
from tests.diagnosis.dns_cases import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_defect_is_told_with_what_to_do(case: Case) -> None:
    """The exit code and the words."""
    run = case.tell().run
    assert run.code == case.code, run.out
    for words in case.words:
        assert words in run.out, run.out
