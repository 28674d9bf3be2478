"""aiosmtpd's server: `python with_aiosmtpd.py PORT FOLDER`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP
from kept import keep, refusal


class Handler:
    """Judges recipients and keeps what is taken."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        """Answer RCPT."""
        if said := refusal(address):
            return f"{said[0]} {said[1]}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep the message."""
        keep(self._folder, envelope.rcpt_tos, envelope.content)
        return "250 kept"


async def serve(port: int, folder: Path) -> None:
    """Listen for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(folder), hostname="localhost"), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
