"""The owner of a study: the process that runs it, and whether that process is alive."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Self

import psutil

# A runner tells that it is there this often, and is taken for dead where it has not for so long. Only on another
# machine, or in another container, is that all there is to go by: here the system knows.
HEARTBEAT_S = 30.0
DEAD_AFTER_S = 300.0


@dataclass(frozen=True)
class Owner:
    """A process that runs a study.

    Attributes:
        host: the name of its machine.
        space: the process ids' name space: containers of one machine may share all else.
        boot_id: of the time that the machine has been up since.
        pid: its process id, which is another's after its end or after a boot.
        process_began_s: when the process began, by which that is told; seconds since the boot, which does not
            change with the clock.
        since_s: since when it runs the study, seconds since 1970.
    """

    host: str
    space: str
    boot_id: str
    pid: int
    process_began_s: float
    since_s: float

    @classmethod
    def me(cls) -> Self:
        """This process as the owner, from now on."""
        pid = os.getpid()
        return cls(platform.node(), _space(), boot_id(), pid, _began_s(pid), time.time())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The owner from the JSON of :meth:`text`; None if the text is something else."""
        try:
            fields = json.loads(text)
            return cls(
                host=str(fields["host"]),
                space=str(fields["space"]),
                boot_id=str(fields["boot_id"]),
                pid=int(fields["pid"]),
                process_began_s=float(fields["process_began_s"]),
                since_s=float(fields["since_s"]),
            )
        except (ValueError, TypeError, KeyError):
            return None

    def text(self) -> str:
        """The owner as JSON."""
        return json.dumps(asdict(self))

    def is_alive(self, heartbeat_s: float) -> bool:
        """Whether the process is alive, as far as this machine can know.

        Args:
            heartbeat_s: when it last said that it does, seconds since 1970.
        """
        if not self.is_near():
            return time.time() - heartbeat_s < DEAD_AFTER_S
        if self.boot_id != boot_id():
            return False
        try:
            return abs(_began_s(self.pid) - self.process_began_s) < 1
        except psutil.Error:
            return False

    def is_near(self) -> bool:
        """Whether the process is on this machine, so that its state can be checked."""
        return (self.host, self.space) == (platform.node(), _space())

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_s).astimezone()
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S}"


def _began_s(pid: int) -> float:
    """The start of a process, in seconds since boot."""
    return float(psutil.Process(pid).create_time() - psutil.boot_time())


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux: there is one
        return ""


@cache
def boot_id() -> str:
    """An id of this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: the second that it was booted
        return f"{psutil.boot_time():.0f}"
