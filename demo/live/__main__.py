"""`python -m demo.live`: starts everything, says where it is, and ends all of it at Ctrl-C."""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from demo.live.ending import until_signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo.live", description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="of the pages (8000; a free one where it is taken)")
    parser.add_argument("--calm", action="store_true", help="no troubles but those that you make by a click")
    parser.add_argument("--quiet", action="store_true", help="no mail but what you send by the page")
    options = parser.parse_args(arguments)
    with until_signal():
        try:
            from demo.live import stage
        except ImportError as error:
            if "cryptography" not in str(error):
                raise
            print("The simulated providers make certificates: pip install cryptography", file=sys.stderr)
            return 1
        with tempfile.TemporaryDirectory(prefix="demo-live-") as folder, stage.running() as running:
            mailers = Path(folder) / "mailers.json"
            mailers.write_text(json.dumps(running.mailers()))
            os.environ |= {
                "DJANGO_SETTINGS_MODULE": "demo.live.settings",
                "DEMO_VAR": folder,
                "DEMO_LIVE_MAILERS": str(mailers),
            }
            import django

            django.setup()
            from demo.live.show import Show

            with stage.shown(running):
                Show(running, port=options.port, is_calm=options.calm, is_quiet=options.quiet).run()
    if sys.stdout.isatty():
        print()  # behind the ^C that the terminal wrote
    print("Ended; nothing of it is left running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
