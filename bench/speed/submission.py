"""A submission server with STARTTLS and AUTH: `python -m bench.speed.submission CA_BUNDLE` prints its port and serves.

A process of its own, so that a client's CPU time is the client's. Into CA_BUNDLE it writes the system's authorities and
its own: reading hundreds of authorities is what a new TLS context costs a real site.
"""

import ssl
import sys
import threading
from pathlib import Path

from reliable_email.testing.server import ScriptedServer

USER, PASSWORD = "shop", "not-a-secret"


def main(ca_bundle: Path) -> None:
    """Serve until killed."""
    with ScriptedServer(tls="starttls", login={USER: PASSWORD}) as server:
        assert server.ca_file is not None
        system = ssl.get_default_verify_paths().cafile
        authorities = [Path(system).read_text()] if system else []
        ca_bundle.write_text("\n".join([*authorities, Path(server.ca_file).read_text()]))
        print(server.port, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
