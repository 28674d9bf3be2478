"""The life of a recipient's row: the transitions, and the SQL that makes them.

Read `transitions` first, then `claim`, `journal`, `settle` and `rescue`, one for each arrow. Every write is fenced: it
changes a row only while the claim still belongs to the writer. `sql` holds one connection's words, `pipeline` sends
several statements in one round trip to PostgreSQL.
"""
