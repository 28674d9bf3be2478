"""Queueing: from a submission to rows, in the caller's database and transaction.

`enqueue` is the door. `digests` makes idempotency keys unique, `foreign_fields` keeps what MIME cannot say,
`autonomous` writes what must survive the caller's rollback.
"""
