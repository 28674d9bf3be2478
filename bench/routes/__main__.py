"""What routes remember, in figures: `make routes` (ARGS="outages quota lanes locked statements upgrade"; PostgreSQL).

`outages`: servers that are killed under eight connections and come back: how often the route opened, and how soon it
was in use again (at most 20 s after outages below ten seconds, 75 s after others; `--servers`, `--away SECONDS …`).
`quota`: what twenty thousand messages without quota cost two workers. `lanes`: what a claim reads of half a million
rows that must not go, and how fair it is to ten thousand lanes. `locked`: what one lane delivers while the row of
another lane's route is held. `statements`: of a message, with a quota and without.
`upgrade`: how long the migration of a million rows of the first version makes a site wait, while workers of both
versions deliver.
"""

import argparse
import os
import secrets
import sys

import psycopg

from tests.servers.roll import SERVERS

DATABASE = "reliable_email_routes"


def main() -> None:
    """Make the database, measure, drop it."""
    parser = argparse.ArgumentParser(prog="make routes")
    groups = ("outages", "quota", "lanes", "locked", "statements", "upgrade")
    parser.add_argument("groups", nargs="*", default=groups)
    parser.add_argument("--servers", nargs="*", default=["postfix-plain", "exim", "aiosmtpd"], choices=[*SERVERS])
    parser.add_argument("--away", nargs="*", type=float, default=[1.0, 2.0, 15.0], help="seconds that a server is away")
    options = parser.parse_args()
    os.environ["ROUTES_DATABASE"] = DATABASE
    os.environ["ROUTES_SECRET"] = secrets.token_hex()
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.routes.settings"
    with psycopg.connect(host="127.0.0.1", user="postgres", dbname="postgres", autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
        server.execute(f'CREATE DATABASE "{DATABASE}"')
        try:
            import django

            django.setup()
            from django.core.management import call_command

            call_command("migrate", "reliable_email", verbosity=0)
            from bench.routes import lanes, locked, outages, quota, statements, upgrade

            if "statements" in options.groups:
                statements.main()
            if "lanes" in options.groups:
                lanes.main()
            if "quota" in options.groups:
                quota.main()
            if "locked" in options.groups:
                locked.main()
            if "outages" in options.groups:
                outages.main([SERVERS[name] for name in options.servers], options.away)
            if "upgrade" in options.groups:
                upgrade.main()
        finally:
            from django.db import connections

            connections.close_all()
            server.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')


if __name__ == "__main__":
    sys.exit(main())
