"""The claim of a study by the process that runs it: taken at the start, kept by heartbeats, released at the end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from harness.data.digits import Digits
from harness.errors import StoppedError
from harness.study import signature
from harness.study.config import StudyConfig
from harness.tracking import descriptions, recorded_signature, views
from harness.tracking.owner import HEARTBEAT_S, Owner
from harness.tracking.reader import StudyReader
from harness.tracking.run_content import StudyHandle, common_tags, dataset_input, done_tags, log_images
from harness.tracking.run_record import RunRecord
from harness.tracking.store import Store, StoreError, failures
from harness.tracking.tags import Role, Tag

# A server has no lock: wait this long, then look for a duplicate created at the same time.
_SETTLED_S = 0.5
_POLL_S = 0.2
# The number of heartbeats to wait for before the owner on another machine counts as dead.
_BEATS = 3
_log = logging.getLogger(__name__)


class Claim:
    """A study that this process runs. Use it as a context manager.

    Entering the context resumes the study with the configured name, or creates its parent run. :meth:`end` closes the
    parent run. Leaving the context releases the study, unless another process has taken it over; so two processes never
    write reports of one study at the same time.

    Args:
        store: Tracking store.
        config: Configuration of the study.
        digits: Images of the study.
        me: This process.
        command: Command that resumes the study, if it is known.

    Attributes:
        store: Tracking store.
        reader: Reader of the store.
        study: Claimed study.
        status: Status of the parent run at the end; ``KILLED`` unless it is set.
        n_done: Number of complete trials; None until it is known.
        n_failed: Number of trials that failed in this process.

    Raises:
        StoppedError: The store fails. Every method may raise this error.
    """

    study: StudyHandle

    def __init__(self, store: Store, config: StudyConfig, digits: Digits, me: Owner, command: str = "") -> None:
        self.store, self.reader = store, StudyReader(store)
        self._config, self._digits, self._me, self._command = config, digits, me, command
        self.status = "KILLED"
        self.n_done: int | None = None
        self.n_failed = 0
        self._is_ended = False

    def __enter__(self) -> Self:
        """Claim the study.

        Raises:
            StoppedError: Another process is running the study.
            UsageError: The study has changed since it was recorded, so new trials would not fit the recorded ones.
        """
        config, digits = self._config, self._digits
        current_signature = signature.of(config, digits)
        with failures(), self.store.alone():
            every = self.reader.studies(config.name)
            current = [run for run in every if Tag.ARCHIVED not in run.tags]
            if not current:
                key = recorded_signature.new_key(config.name, every, current_signature)
                self._create_study(StudyHandle("", config, key, digits, self._me, 0), current_signature)
                current = self._current()
            parent = current[0]
            self._restore(parent)
            self.reader.check_children(parent)
            self._refuse_if_running(parent)
            recorded_signature.check(config.name, parent, current_signature)
            key, times = parent.tags[Tag.STUDY_KEY], int(parent.tags.get(Tag.TIMES_RUN, "0")) + 1
            self.study = StudyHandle(parent.run_id, config, key, digits, self._me, times)
            self._become_owner(parent.tags.get(Tag.OWNER, ""))
            # Duplicates: other processes created them at the same time, or this process created a second one because
            # the reply to its first attempt was lost.
            for duplicate in self._current()[1:]:
                _archive(self.store, duplicate.run_id)
                self.store.client.set_terminated(duplicate.run_id, "KILLED")
            self._complete_parent_run()
            self._resume(parent.tags.get(Tag.NOTE, ""))
            if times == 1:
                self._adopt_children()
        return self

    def _restore(self, parent: RunRecord) -> None:
        """Restore the parent run if it was deleted in MLflow while its trainings were kept."""
        if self.store.client.get_run(parent.run_id).info.lifecycle_stage == "deleted":
            self.store.client.restore_run(parent.run_id)
            _log.warning("the run of the study %s was deleted in MLflow; it is restored", self._config.name)

    def _refuse_if_running(self, parent: RunRecord) -> None:
        """Refuse a study that another process runs.

        The state of a process on this machine is known. A process elsewhere is alive if its heartbeat changes: the
        clocks of two machines may differ, so the time of the heartbeat says nothing.

        Raises:
            StoppedError: Another process is running the study.
        """
        claim = parent.claimed_by
        if claim is not None and not claim.is_near():
            _log.warning(
                "the study was claimed by %s; waiting up to %.0f s for its next heartbeat", claim, _BEATS * HEARTBEAT_S
            )
            if not self._beats(parent):
                return
            raise _running(parent, claim)
        if parent.owner is not None:
            raise _running(parent, parent.owner)

    def _beats(self, parent: RunRecord) -> bool:
        """Whether the heartbeat of a study changes."""
        deadline_s = time.monotonic() + _BEATS * HEARTBEAT_S
        before = parent.tags.get(Tag.HEARTBEAT)
        while time.monotonic() < deadline_s:
            time.sleep(min(1.0, HEARTBEAT_S / 4))
            tags = self.store.client.get_run(parent.run_id).data.tags
            if Tag.OWNER not in tags:
                return False
            if tags.get(Tag.HEARTBEAT) != before:
                return True
        return False

    def _adopt_children(self) -> None:
        """Attach the runs of a study whose parent run was deleted for ever to the new parent run."""
        client, run_id = self.store.client, self.study.run_id
        # The trainings of a sampled design belong to the runs of their trials.
        roles = (Role.TRIAL, Role.TRAINING) if self.study.config.design.seeds is None else (Role.TRIAL,)
        for role in roles:
            for run in self.reader.runs(self.study.key, role):
                if run.tags.get(Tag.PARENT) != run_id:
                    client.set_tag(run.run_id, Tag.PARENT, run_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the study. After an error of this block, errors of the release are ignored."""
        if isinstance(error, StoreError) and error.is_unavailable:
            return  # the store was unavailable during all retries
        with suppress(*([StoppedError] if error is not None else [])):
            if not self._is_ended:
                self.end()
            with failures():
                if self._is_mine():
                    self._drop_tag(self.study.run_id, Tag.OWNER)

    def _current(self) -> list[RunRecord]:
        """The parent runs of the studies with this name that are not archived, oldest first.

        On a server, wait first until the runs that other processes created are visible.
        """
        if self.store.path is None:
            time.sleep(_SETTLED_S)
        return self.reader.current_studies(self._config.name)

    def _become_owner(self, former_owner: str) -> None:
        """Become the owner of the study, whose former owner is dead.

        Each process writes a request tag and reads the others. The smallest id wins. A process that finds no
        other request owns the study. A process that comes later with a smaller id waits until the owner is recorded,
        then gives up.

        Raises:
            StoppedError: Another process owns the study, or its request has a smaller id.
        """
        study = self.study
        client, me = self.store.client, Tag.REQUEST + uuid4().hex
        client.set_tag(study.run_id, me, study.owner.text())
        try:
            while True:
                tags = client.get_run(study.run_id).data.tags
                newcomer = tags.get(Tag.OWNER, "")
                if newcomer not in {"", former_owner} and (owner := Owner.parse(newcomer)) is not None:
                    raise _running(_with_tags(tags), owner)
                others = {
                    name
                    for name in tags
                    if name.startswith(Tag.REQUEST) and name != me and _is_request_of_living(tags[name])
                }
                if not others:
                    break
                if min(others) < me:
                    cause = f"the study {study.config.name} is being started by another process"
                    raise StoppedError(cause, "Wait until it ends, or stop it.")
                time.sleep(_POLL_S)
            client.set_tag(study.run_id, Tag.HEARTBEAT, f"{time.time():.0f}")
            client.set_tag(study.run_id, Tag.OWNER, study.owner.text())
        finally:
            self._drop_tag(study.run_id, me)

    def _drop_tag(self, run_id: str, name: str) -> None:
        """Delete a tag if it exists: an earlier attempt may have deleted it although its reply was lost."""
        try:
            self.store.client.delete_tag(run_id, name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def _is_mine(self) -> bool:
        claim = self.store.client.get_run(self.study.run_id).data.tags.get(Tag.OWNER, "")
        return bool(claim == self.study.owner.text())

    def _resume(self, note: str) -> None:
        """Record that the study runs again.

        Args:
            note: Recorded note of the study, to which users may have added text.
        """
        study = self.study
        client, config = self.store.client, study.config
        tags = {
            Tag.LAST_RUN: str(int(time.time() * 1000)),
            Tag.TIMES_RUN: str(study.times),
            Tag.TOTAL: str(config.n_trials),
            Tag.NOTE: descriptions.merged(note, descriptions.begun(config, study.digits.name, self._command)),
        }
        if self._command:
            tags[Tag.COMMAND] = self._command
        if study.times == 1:
            client.set_experiment_tag(self.store.experiment_id, *views.of_study(config, study.key))
        self.store.client.log_batch(study.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
        self.store.client.update_run(study.run_id, status="RUNNING")

    def _create_study(self, study: StudyHandle, current_signature: Mapping[str, Any]) -> None:
        client, config, digits = self.store.client, study.config, study.digits
        tags = {
            Tag.LAST_RUN: str(int(time.time() * 1000)),
            Tag.TOTAL: str(config.n_trials),
            Tag.SIGNATURE: json.dumps(current_signature),
            **common_tags(study, Role.STUDY),
            Tag.NAME: f"{config.name} on {digits.name}",
            Tag.DESCRIPTION: config.description.strip(),
            Tag.NOTE: descriptions.merged("", descriptions.begun(config, digits.name, self._command)),
        }
        client.create_run(self.store.experiment_id, tags=tags)

    def _complete_parent_run(self) -> None:
        """Record the images, parameters and dataset of a new study.

        The dataset is recorded last: a parent run that has a dataset is complete.
        """
        study = self.study
        client, config, digits, run_id = self.store.client, study.config, study.digits, study.run_id
        run = client.get_run(run_id)
        if run.inputs.dataset_inputs:
            return
        self.store.with_retries(log_images)(str(run.info.artifact_uri), digits)
        params = {"engine": config.engine, "dataset": digits.name, "design": config.design.kind}
        params |= {f"space.{name}": descriptions.brief(values) for name, values in config.space.parameters().items()}
        client.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
        client.log_inputs(run_id, [dataset_input(digits)])

    def count_done(self, n: int) -> None:
        """Count trials that are now complete."""
        self.n_done = (self.n_done or 0) + n

    def heartbeat(self) -> None:
        """Record that this process still owns the study, and the number of complete trials if it is known.

        Raises:
            StoppedError: Another process considered this process dead and runs the study now.
        """
        with failures():
            if not self._is_mine():
                name = self.study.config.name
                raise StoppedError(f"another process has taken over the study {name}", "Let that process finish.")
            tags = [RunTag(Tag.HEARTBEAT, f"{time.time():.0f}"), *done_tags(self.n_done)]
            self.store.client.log_batch(self.study.run_id, tags=tags)

    def end(self) -> None:
        """Close the open runs, and the parent run with its counts, unless another process owns the study."""
        self._is_ended = True
        self.close_orphans()  # also runs that were created twice, because the reply to a call was lost
        with failures():
            if not self._is_mine():
                return
            study, now_ms = self.study, int(time.time() * 1000)
            counts = {} if self.n_done is None else {"finished": self.n_done, "failed": self.n_failed}
            metrics = [Metric(f"trials_{name}", value, now_ms, study.times) for name, value in counts.items()]
            self.store.client.log_batch(study.run_id, metrics=metrics, tags=done_tags(self.n_done))
            self.store.client.set_terminated(study.run_id, self.status)

    def close_orphans(self) -> int:
        """Close the open runs of dead processes, in all studies, and return the number of closed runs."""
        with failures():
            left = list(self.store.search("attributes.status = 'RUNNING'"))
            if not left:
                return 0
            # A process elsewhere may be alive, whatever the clocks say.
            alive = {
                run.tags[Tag.STUDY_KEY]
                for run in self.reader.studies()
                if run.owner is not None or (run.claimed_by is not None and not run.claimed_by.is_near())
            }
            closed = 0
            for run in left:
                key = run.data.tags.get(Tag.STUDY_KEY)
                is_own = key == self.study.key and run.info.run_id != self.study.run_id
                if is_own or (key is not None and key not in alive):
                    self.store.client.set_terminated(run.info.run_id, "KILLED")
                    closed += 1
            return closed


def archive(store: Store, name: str, keep: Callable[[str], None]) -> bool:
    """Archive the study with this name, so that the next run starts a new study.

    No record is deleted.

    Args:
        store: Tracking store.
        name: Name of the study.
        keep: Callback that receives the key of the study before the study is archived. It saves other data of the
            study, such as its report files. It is not called if there is no study to archive.

    Returns:
        Whether there was a study to archive.

    Raises:
        StoppedError: A process is running the study.
    """
    with failures(), store.alone():
        current = StudyReader(store).current_studies(name)
        for run in current:
            if run.owner is not None:
                raise _running(run, run.owner)
        if current:
            keep(current[0].tags[Tag.STUDY_KEY])
        for run in current:
            _archive(store, run.run_id)
        return bool(current)


def _archive(store: Store, run_id: str) -> None:
    store.client.set_tag(run_id, Tag.ARCHIVED, datetime.now(UTC).isoformat(timespec="seconds"))


def _with_tags(tags: Mapping[str, str]) -> RunRecord:
    """A run record with only its tags."""
    return RunRecord("", "", "", {}, {}, tags, 0)


def _is_request_of_living(claim: str) -> bool:
    """Whether the process that wrote a request tag is alive."""
    owner = Owner.parse(claim)
    return owner is not None and owner.is_alive(owner.since_s)


def _running(parent: RunRecord, owner: Owner) -> StoppedError:
    return StoppedError(
        f"the study {parent.tags[Tag.STUDY]} is already running: {owner}", "Wait until it ends, or stop it."
    )
