"""`python -m reliable_email.testing`: a mail server on this machine that takes everything, delivers nothing, and tells.

For trying things out: mail to `nobody@` any domain is refused as by a server that does not know the mailbox.
"""

import argparse
import signal
import sys

from reliable_email.testing.records import ReceivedMessage
from reliable_email.testing.scripted.conversation import Conversation
from reliable_email.testing.scripted.submission import Submission
from reliable_email.testing.server import ScriptedServer


class Postbox(Submission):
    """Takes every message and prints one line for it."""

    def rcpt(self, conversation: Conversation, recipient: str) -> str:
        """Accept every recipient except those that the module's docstring names."""
        if recipient.lower().startswith("nobody@"):
            _say(f"refused {recipient}")
            return "550 5.1.1 No such user here"
        return super().rcpt(conversation, recipient)

    def admit(self, message: ReceivedMessage) -> bool:
        """Tell of it."""
        _say(f"took {message.header('Subject') or 'a message'!r} for {', '.join(message.recipients)}")
        return super().admit(message)


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m reliable_email.testing", description="A mail server for trying.")
    parser.add_argument("--port", type=int, default=2525, help="where it listens, on 127.0.0.1 (2525)")
    server = ScriptedServer(rules=Postbox(), port=parser.parse_args().port)
    try:
        server.start()
    except OSError as error:
        sys.exit(f"port {server.port} of 127.0.0.1 cannot be used: {error.strerror}. Choose another with --port.")
    _say(f"listening on 127.0.0.1:{server.port}; nothing is delivered; Ctrl-C ends it")
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    signal.sigwait(stop)
    server.close()


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
