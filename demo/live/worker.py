"""The demo's worker: `email_worker` that also ends when the process that started it does, whatever became of that."""

import os
import signal
import threading

_STDIN = 0


def _end_with_parent() -> None:
    while os.read(_STDIN, 1024):  # ends when the last holder of the pipe's other side does
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "email_worker", "--verbosity", "0"])
