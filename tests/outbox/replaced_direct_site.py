"""A site in a process of its own that sends directly, whose package is removed; prints what the caller is told.

`python replaced_direct_site.py FOLDER PORT TO...`: FOLDER has a copy of the package, which goes before the last TO.
"""

import json
import shutil
import sys
from pathlib import Path

folder, port, *to = sys.argv[1:]
sys.path.insert(0, folder)

import django  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.mail import EmailMessage  # noqa: E402

settings.configure(SECRET_KEY="only for tests", USE_TZ=True)
django.setup()

from reliable_email.backends import ReliableSMTPBackend, direct  # noqa: E402

package = Path(folder, "reliable_email")
assert Path(direct.__file__).is_relative_to(package)
told = {}
for one in to:
    if one == to[-1]:
        shutil.rmtree(package)
    message = EmailMessage("Hello", "World", "site@example.org", [one])
    try:
        ReliableSMTPBackend(host="127.0.0.1", port=int(port)).send_messages([message])
    except Exception as error:  # noqa: BLE001 - whatever the caller meets is printed
        told[one] = type(error).__name__
    else:
        told[one] = "sent"
sys.stdout.write(json.dumps(told))
