"""Identifies the owner of a study, which is the process that runs the study, and checks whether the owner is alive."""

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

# The owner of a study records a heartbeat every `HEARTBEAT_S` seconds. An owner on another machine or in another
# container counts as dead after `DEAD_AFTER_S` seconds without a heartbeat. For an owner on this machine, the operating
# system reports whether the process is alive.
HEARTBEAT_S = 30.0
DEAD_AFTER_S = 300.0


@dataclass(frozen=True)
class Owner:
    """A process that runs a study.

    Attributes:
        host: Host name of the machine.
        space: PID namespace of the process. It distinguishes containers on the same machine.
        boot_id: Boot id of the machine when the process started. A machine gets a new boot id at every restart.
        pid: Process id. The system may reuse it after the process ends or the machine restarts.
        process_began_s: Start time of the process, in seconds since boot. It shows whether the process id was reused.
            Changes of the system clock do not affect it.
        since_s: Time at which the process started to run the study, in seconds since 1970.
        machine_id: Id of the machine (``/etc/machine-id``); empty if there is none.
    """

    host: str
    space: str
    boot_id: str
    pid: int
    process_began_s: float
    since_s: float
    machine_id: str = ""

    @classmethod
    def me(cls) -> Self:
        """Describe the current process as the owner of a study. The ownership starts now."""
        pid = os.getpid()
        return cls(platform.node(), _space(), boot_id(), pid, _began_s(pid), time.time(), _machine_id())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse the JSON that :meth:`text` returns. Return None if the text is not the JSON of an owner."""
        try:
            fields = json.loads(text)
            return cls(
                host=str(fields["host"]),
                space=str(fields["space"]),
                boot_id=str(fields["boot_id"]),
                pid=int(fields["pid"]),
                process_began_s=float(fields["process_began_s"]),
                since_s=float(fields["since_s"]),
                machine_id=str(fields.get("machine_id", "")),
            )
        except (ValueError, TypeError, KeyError):
            return None

    def text(self) -> str:
        """The owner as JSON."""
        return json.dumps(asdict(self))

    def is_alive(self, heartbeat_s: float) -> bool:
        """Whether the process is alive, as far as this machine can determine.

        Args:
            heartbeat_s: Time of the last heartbeat, in seconds since 1970. It is used only for a process on another
                machine or in another container.
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
        """Whether the process is on this machine and in this PID namespace.

        If so, the operating system can report whether the process is alive. This method compares the PID namespace and
        the machine id of the process with those of the current process. If one of the machine ids is missing, it
        compares the host names and the boot ids instead.
        """
        if self.space != _space():
            return False
        own = _machine_id()
        if self.machine_id and own:
            return self.machine_id == own
        return self.host == platform.node() and self.boot_id == boot_id()

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since_s).astimezone()
        return f"process {self.pid} on {self.host}, since {since:%Y-%m-%d %H:%M:%S}"


def _began_s(pid: int) -> float:
    """The start time of a process, in seconds since boot."""
    return float(psutil.Process(pid).create_time() - psutil.boot_time())


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # Only Linux has PID namespaces.
        return ""


@cache
def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:  # Other systems and some containers have no such file.
        return ""


@cache
def boot_id() -> str:
    """An id of the machine's current boot. It changes at every restart."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # Only Linux has boot ids. Use the boot time instead.
        return f"{psutil.boot_time():.0f}"
