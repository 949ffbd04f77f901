"""Shows progress: a bar on a terminal, plain lines in a log, nothing with ``--quiet``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import ClassVar, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.engines.contract import EpochReport
from harness.engines.training import TrainingResult
from harness.network.variant import Variant

_LINE_EVERY_S = 10.0


class EpochLines:
    """Prints each epoch of a training in the format of Keras, followed by the error count."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, report: EpochReport) -> None:
        """Print a finished epoch."""
        steps = report.variant.steps_per_epoch
        a_step_ms = report.duration_s / steps * 1000
        bar = "=" * 30
        self._stream.write(
            f"Epoch {report.epoch}/{report.variant.epochs}\n"
            f"{steps}/{steps} [{bar}] - {report.duration_s:.1f}s {a_step_ms:.2f}ms/step"
            f" - loss: {report.loss:.4f} - errors: {report.errors}\n"
        )
        self._stream.flush()


class _Shown:
    """Base class of progress displays: a bar on a terminal, lines elsewhere. Use it as a context manager.

    Args:
        console: Console that shows the progress. If it is not a terminal, it shows at most one line in ten seconds.
        quiet: Whether to show nothing.

    Attributes:
        what: Name of the counted items, such as ``trials``.
        begun: Whether the bar counts the elapsed time from its creation, or only after a later call starts its clock.
    """

    what: ClassVar[str]
    begun: ClassVar[bool]

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._live = console.is_terminal and not quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self.what),
            TimeElapsedColumn(),
            TextColumn("{task.fields[forecast]}"),
            console=console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("training", total=None, forecast="", start=self.begun)
        self._started_s = self._told_s = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _line(self, text: str, *, now: bool = False) -> None:
        """Print a line if there is no bar. Skip a line within ten seconds of the last one, unless `now` is true."""
        now_s = time.monotonic()
        if not self._live and not self._quiet and (now or now_s - self._told_s >= _LINE_EVERY_S):
            self._told_s = now_s
            self._console.print(text)


class StudyProgress(_Shown):
    """Shows the number of complete trials of a study, the trials per second, and the expected end."""

    what, begun = "trials", False

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        super().__init__(console, quiet=quiet)
        self._before = self._done = self._total = self._failed = 0

    def repaired(self, line: str) -> None:
        """Print a line that describes a repair of the study's records."""
        if not self._quiet:
            self._console.print(f"repaired: {line}", markup=False)

    def stopping(self, batches: int) -> None:
        """Print that the study stops, and the number of batches that it still finishes.

        A batch is a group of variants that a worker trains together.
        """
        if self._quiet or not batches:
            return
        what = "1 batch" if batches == 1 else f"{batches} batches"
        self._console.print(
            f"stopping: {what} of trainings will be finished and recorded. Press Ctrl-C again to stop at once",
            markup=False,
        )

    def begin(self, done: int, total: int) -> None:
        """Start the display of a study in which `done` of `total` trials are already complete."""
        self._before = self._done = done
        self._total = total
        self._started_s = self._told_s = time.monotonic()
        self._bar.start_task(self._task)
        self._bar.update(self._task, completed=done, total=total)
        if not self._live and not self._quiet and done < total:
            self._console.print(f"{done} of {total} trials are done; training {total - done}")

    def repeated(self) -> None:
        """Count a trial that is not trained, because a complete trial has the same parameter values."""
        self._before += 1
        self._done += 1
        self._bar.update(self._task, completed=self._done)

    def trial(self, variants: Sequence[Variant], results: Sequence[TrainingResult] | None) -> None:
        """Count a trial that has ended. If `results` is None, the trial has failed."""
        self._done += 1
        self._failed += results is None
        self._bar.update(self._task, completed=self._done, forecast=self._forecast())
        variant = variants[0]
        what = f"learning rate {variant.learning_rate:.3g}, {variant.epochs} epochs"
        line = f"{self._done} of {self._total} trials ({what}); {self._forecast()}"
        self._line(line, now=self._done == self._total)

    def _forecast(self) -> str:
        elapsed_s = time.monotonic() - self._started_s
        rate = (self._done - self._before) / elapsed_s
        left_s = (self._total - self._done) / rate
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{rate:.1f} trials/s, {_until(left_s)}{failed}"


class TrainingsProgress(_Shown):
    """Shows the number of finished trainings and the expected end."""

    what, begun = "trainings", True

    def trained(self, done: int, total: int) -> None:
        """Show that `done` of `total` trainings have finished."""
        forecast = ""
        if done:
            left_s = (time.monotonic() - self._started_s) / done * (total - done)
            forecast = _until(left_s)
        self._bar.update(self._task, completed=done, total=total, forecast=forecast)
        self._line(f"{done} of {total} trainings are done; {forecast}")


def _until(left_s: float) -> str:
    """Return the expected end as text: the time of day in `left_s` seconds."""
    return f"until {datetime.now().astimezone() + timedelta(seconds=left_s):%H:%M:%S}"
