"""The one word for "is mail working?", and how several findings make one."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class Health(StrEnum):
    """The verdict; `healthy` also where an operator has relaxed something in words."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"  # mail goes out, and something is not as it should be
    UNHEALTHY = "unhealthy"  # mail does not go out


class ExitCode(IntEnum):
    """Exit codes of every command of this package."""

    HEALTHY = 0
    UNHEALTHY = 1
    USAGE = 2
    DEGRADED = 3


_ORDER = (Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY)
EXIT_CODES = {
    Health.HEALTHY: ExitCode.HEALTHY,
    Health.DEGRADED: ExitCode.DEGRADED,
    Health.UNHEALTHY: ExitCode.UNHEALTHY,
}


def worst(verdicts: Iterable[Health]) -> Health:
    """The worst of them; HEALTHY where there is none."""
    return max(verdicts, key=_ORDER.index, default=Health.HEALTHY)
