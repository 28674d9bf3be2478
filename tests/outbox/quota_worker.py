"""A worker process over a database and a quota that are given as arguments; prints to whom it has sent.

It says that it is ready, and begins when it is told to: the first of two would else be done before the second is there.
"""

import json
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

from django.conf import settings

database = json.loads(sys.argv[1])
if database["ENGINE"].endswith("mysql"):
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks for mysqlclient's version
        pymysql.install_as_MySQLdb()
settings.DATABASES = {"default": database}

import django  # noqa: E402

django.setup()

from reliable_email.providers import Quota  # noqa: E402
from reliable_email.store.memory.route_state import DatabaseRouteStateStore  # noqa: E402
from tests.outbox.desk import worker  # noqa: E402
from tests.outbox.network import Network  # noqa: E402

network = Network()
route = network.route(quotas=(Quota(window_seconds=86400, limit=int(sys.argv[2])),))
sys.stdout.write("ready\n")
sys.stdout.flush()
sys.stdin.readline()
worker("default", route, store=DatabaseRouteStateStore("default"), connections=3, batch=5).run()
for (address, _), count in network.taken.items():
    for _ in range(count):
        sys.stdout.write(f"{address}\n")
