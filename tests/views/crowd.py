"""Fills PostgreSQL's tables with as many messages as a busy site keeps, in seconds: the database makes the rows."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.utils import CursorWrapper

_DAYS = 60
# Those that refer to others first.
_TABLES = ("outboxrecipient", "attempt", "outboxmessage", "tally")
# Of each thousand recipients, so many are in each state.
_STATE = """
    CASE WHEN n % 1000 < 6 THEN 'queued' WHEN n % 1000 = 6 THEN 'claimed' WHEN n % 1000 = 7 THEN 'unknown'
         WHEN n % 1000 = 8 THEN 'parked' WHEN n % 1000 < 30 THEN 'rejected' WHEN n % 1000 = 30 THEN 'expired'
         WHEN n % 1000 = 31 THEN 'cancelled' ELSE 'accepted' END
"""
# Ids follow the clock, as they do on a site.
_AGE = f"(INTERVAL '{_DAYS} days' * (1 - n / %s::float))"
_DOMAIN = "(ARRAY['gmail.com', 'example.org', 'web.de', 'outlook.com', 'example.net'])[1 + n % 5]"
_FAILURES = (
    ("mailbox_unknown", "rcpt", 550, "5.1.1", "The email account that you tried to reach does not exist."),
    ("mailbox_full", "rcpt", 452, "4.2.2", "The recipient''s inbox is out of storage space and inactive."),
    ("rate_limited", "mail", 421, "4.7.0", "Try again later, closing connection."),
    ("quota_exceeded", "final_reply", 550, "5.4.5", "Daily user sending limit exceeded. For more information on Gmail"),
    ("connect_failed", "connect", None, "", ""),
)


@contextmanager
def _without_indexes(cursor: CursorWrapper) -> Iterator[None]:
    """An index that is built of what is there costs a fraction of one that follows each row."""
    cursor.execute(
        """
        SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'reliable_email_%%'
        AND indexname NOT IN (SELECT conname FROM pg_constraint)
        """
    )
    indexes = cursor.fetchall()
    for name, _ in indexes:
        cursor.execute(f'DROP INDEX "{name}"')
    yield
    for _, definition in indexes:
        cursor.execute(definition)


def fill(using: str, messages: int, *, attempts: int) -> None:
    """So many messages of one recipient each, so many attempts, and a day's tallies."""
    connection = connections[using]
    with connection.cursor() as cursor, _without_indexes(cursor):
        # Nobody else writes here, so that what refers to what need not be checked row by row.
        cursor.execute("SET session_replication_role = replica")
        # Those that refer to others first.
        for table in ("providerevent", *_TABLES):
            cursor.execute(f"ALTER TABLE reliable_email_{table} SET UNLOGGED")
        cursor.execute(
            f"""
            INSERT INTO reliable_email_outboxmessage (id, mailer, environment, priority, created_at, message_id, sender,
                from_domain, subject, headers, content_size, is_7bit, needs_smtputf8, encryption_key, content_digest,
                on_unknown, traceparent)
            SELECT n, 'routes', '', n % 3, now() - {_AGE}, '<' || n || '@example.com>', 'shop@example.com',
                'example.com', 'Your order ' || n, '', 2048, true, false, '', '', '', ''
            FROM generate_series(1, %s) AS n
            """.replace(" % ", " %% "),
            [messages, messages],
        )
        cursor.execute(
            f"""
            INSERT INTO reliable_email_outboxrecipient (message_id, position, address, state, mailer, environment,
                priority, due_at, gives_up_at, claim, claimed_by, lease_until, authorized_route, attempts, crashes,
                unknowns, pinned_route, refused_by, route, stage, cause, reply_enhanced, reply_text, detail,
                provider_message_id, settled_at)
            SELECT id, 0, 'person' || id || '@' || domain, state, 'routes', '', priority,
                CASE WHEN state = 'queued' THEN now() + INTERVAL '1 hour' * (random() - 0.5) END,
                now() + INTERVAL '3 days', 0, '', CASE WHEN state = 'claimed' THEN now() + INTERVAL '1 minute' END,
                '', 1, 0, CASE WHEN state = 'unknown' THEN 1 ELSE 0 END, '', '[]', 'gmail', 'final_reply',
                CASE WHEN state = 'rejected' THEN 'mailbox_unknown' ELSE '' END, '', '', '', '',
                CASE WHEN state NOT IN ('queued', 'claimed', 'parked') THEN created_at END
            FROM (SELECT id, id AS n, priority, created_at, {_STATE.replace("n %", "id %")} AS state,
                {_DOMAIN.replace("n %", "id %")} AS domain FROM reliable_email_outboxmessage) AS made
            """
        )
        values = ", ".join(
            f"({number}, '{cause}', '{stage}', {code or 'NULL'}, '{enhanced}', '{text}')"
            for number, (cause, stage, code, enhanced, text) in enumerate(_FAILURES)
        )
        cursor.execute(
            f"""
            INSERT INTO reliable_email_attempt (message_id, claim, worker, route, peer, finished_at, seconds, stage,
                cause, reply_code, reply_enhanced, reply_text, detail, outcomes, provider_message_id)
            SELECT n, 1, 'worker-1', CASE WHEN n % 4 = 0 THEN 'sendgrid' ELSE 'gmail' END, '', now() - {_AGE},
                0.05 + random() * random(), COALESCE(stage, 'final_reply'), COALESCE(cause, ''),
                CASE WHEN cause IS NULL THEN 250 ELSE code END, COALESCE(enhanced, '2.0.0'), COALESCE(words, 'OK'),
                CASE WHEN cause = 'connect_failed' THEN 'connection refused' ELSE '' END,
                jsonb_build_object('0', CASE WHEN cause IS NULL THEN 'accepted' WHEN code = 550 THEN 'rejected'
                ELSE 'deferred' END), ''
            FROM generate_series(1, %s) AS n
            LEFT JOIN (VALUES {values}) AS failure (number, cause, stage, code, enhanced, words)
                ON number * 4 = n % 400
            """.replace(" % ", " %% "),
            [attempts, attempts],
        )
        cursor.execute(
            """
            INSERT INTO reliable_email_tally (minute, route, outcome, cause, count, seconds)
            SELECT date_trunc('minute', now()) - INTERVAL '1 minute' * m, route, outcome, cause,
                (count * (1.2 + sin(m / 150.0)))::int, 1
            FROM generate_series(1, 1440) AS m, (VALUES ('gmail', 'accepted', '', 30), ('sendgrid', 'accepted', '', 9),
                ('gmail', 'rejected', 'mailbox_unknown', 2), ('gmail', 'deferred', 'mailbox_full', 3),
                ('gmail', 'deferred', 'quota_exceeded', 1)) AS known (route, outcome, cause, count)
            """
        )
        cursor.execute("RESET session_replication_role")
    for table in _TABLES:
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) reliable_email_{table}")
