"""SQLite for the outbox, which no test of Django forbids."""
