"""One SMTP client session without I/O: bytes in, events out.

Read `session` first, with its numbered rules. `set_up` goes from the greeting to a login, `exchange` is one message on
its way, `channel` pairs replies with commands, `chained` judges what is said to a message that was sent ahead of a
reply. Nothing here opens a socket or reads a clock, so tests drive it with values alone.
"""
