"""The table of the documentation."""

from reliable_email.classification import Cause
from reliable_email.classification.table import causes_table


def test_the_table_has_a_row_for_each_cause():
    """Each cause once, every row with the same number of columns."""
    header, rule, *rows = causes_table().splitlines()
    assert [row.split("`")[1] for row in rows] == [cause.value for cause in Cause if cause.value in causes_table()]
    assert len(rows) == len(Cause)
    assert {line.count("|") for line in (header, rule, *rows)} == {7}
