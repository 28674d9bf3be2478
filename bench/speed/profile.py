"""Where the time of enqueue, drain and send goes: `python -m bench.speed.profile [enqueue] [drain] [send]`.

Looks at every thread's stack each millisecond and writes a tree of what it saw to var/profile/: share of the samples,
own share, function. On SQLite, so that it needs no service; the server is the sink.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench.speed.servers import sink

_EVERY_SECONDS = 0.001
_SMALLEST_SHARE = 0.005
_FOLDER = Path("var/profile")
_IDLE = ("wait", "select", "poll", "join", "_wait_for_tstate_lock")
_ROOT = str(Path(__file__).parent.parent.parent) + os.sep

Stack = tuple[str, ...]


@contextmanager
def profiled(name: str) -> Iterator[None]:
    """Sample what happens inside, and write it to var/profile/."""
    stacks: Counter[Stack] = Counter()
    is_over = threading.Event()
    sampler = threading.Thread(target=_sample, args=(stacks, is_over), daemon=True)
    # Else the sampler would come to look only where a thread lets go of the interpreter by itself, at I/O.
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    sampler.start()
    try:
        yield
    finally:
        is_over.set()
        sampler.join()
        sys.setswitchinterval(usual)
        _FOLDER.mkdir(parents=True, exist_ok=True)
        path = _FOLDER / f"{name}.txt"
        path.write_text("\n".join(_tree(stacks)) + "\n")
        print(f"{path}: {sum(stacks.values()):,} samples")


def _sample(stacks: "Counter[Stack]", is_over: threading.Event) -> None:
    own = threading.get_ident()
    while not is_over.wait(_EVERY_SECONDS):
        for thread, frame in sys._current_frames().items():
            if thread != own and frame.f_code.co_name not in _IDLE:
                stacks[_stack(frame)] += 1


def _stack(frame: FrameType | None) -> Stack:
    found = []
    while frame is not None:
        code = frame.f_code
        place = code.co_filename.removeprefix(_ROOT).partition("site-packages/")
        found.append(f"{code.co_qualname}  ({place[2] or place[0]})")
        frame = frame.f_back
    return tuple(reversed(found))


def _tree(stacks: "Counter[Stack]") -> Iterator[str]:
    total = sum(stacks.values()) or 1
    within: Counter[Stack] = Counter()
    for stack, count in stacks.items():
        for depth in range(1, len(stack) + 1):
            within[stack[:depth]] += count
    for stack in sorted(within, key=lambda one: [(-within[one[:n]], one[n - 1]) for n in range(1, len(one) + 1)]):
        share, own = within[stack] / total, stacks[stack] / total
        if share >= _SMALLEST_SHARE:
            yield f"{share:6.1%} {own:6.1%}  {'  ' * (len(stack) - 1)}{stack[-1]}"


def enqueue(count: int) -> None:
    """One message at a time."""
    from bench.speed.sample import message

    messages = [message(number) for number in range(count)]
    with profiled("enqueue"):
        for one in messages:
            one.send()


def drain(count: int) -> None:
    """By a worker with its default settings."""
    from django.core.management import call_command

    from bench.speed.site import fill

    fill(count)
    with profiled("drain"):
        call_command("email_worker", "--until-empty", verbosity=0)


def send(count: int) -> None:
    """Directly, in one batch."""
    import django
    from django.core import mail

    from bench.speed.sample import message

    messages = [message(number) for number in range(count)]
    mailer = mail.mailers["smtp"] if django.VERSION >= (6, 1) else mail.get_connection()
    with profiled("send"):
        mailer.send_messages(messages)


STEPS: dict[str, Callable[[int], None]] = {step.__name__: step for step in (enqueue, drain, send)}


def main() -> None:
    """Profile what was asked for, each on an empty queue."""
    parser = argparse.ArgumentParser(prog="bench.speed.profile", description=__doc__)
    parser.add_argument("steps", nargs="*", choices=[*STEPS, []], help="default: all")
    parser.add_argument("--count", type=int, default=3000, help="messages")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sink() as server:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "bench.speed.settings",
            "SPEED_QUEUE": "reliable_email",
            "SPEED_PORT": str(server.port),
            "SPEED_DATABASE": os.environ.get("SPEED_DATABASE", f"{folder}/queue.sqlite3"),
            "SPEED_FOLDER": folder,
        }
        from bench.speed import site

        site.migrate()
        for name in arguments.steps or STEPS:
            site.clear()
            started = time.perf_counter()
            STEPS[name](arguments.count)
            print(f"{name}: {arguments.count / (time.perf_counter() - started):,.0f} messages/s, sampled")


if __name__ == "__main__":
    main()
