"""Claims a study for the process that runs it, so that no other process runs the study at the same time.

The process takes the claim when it starts the study, renews the claim with heartbeats, and releases it at the end.
"""

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
from harness.tracking import bookkeeping, descriptions, recorded_signature, views
from harness.tracking.owner import HEARTBEAT_S, Owner
from harness.tracking.reader import StudyReader
from harness.tracking.run_content import StudyHandle, common_tags, dataset_input, done_tags, log_images
from harness.tracking.run_record import RunRecord
from harness.tracking.store import Store, StoreError, failures
from harness.tracking.tags import Role, Tag

# Seconds to wait before the search for duplicate parent runs. A tracking server has no lock, so two processes that
# start the same study may each create a parent run.
_SETTLED_S = 0.5
_POLL_S = 0.2
# The number of missed heartbeats after which an owner on another machine counts as dead.
_BEATS = 3
_log = logging.getLogger(__name__)


class Claim:
    """The exclusive right of this process to run a study. Use it as a context manager.

    Entering the context resumes the study with the configured name, or creates a new study. :meth:`end` closes the
    study's parent run. Leaving the context releases the study, unless another process has taken it over. Write the
    report of the study inside the context, so that two processes never write the report at the same time.

    Args:
        store: Tracking store.
        config: Configuration of the study.
        digits: Images of the study.
        me: This process, as the owner of the study.
        command: Command that resumes the study; empty if it is unknown.

    Attributes:
        store: Tracking store.
        reader: Reader of the store.
        study: Claimed study.
        status: Status that :meth:`end` gives the parent run. The default is ``KILLED``.
        n_done: Number of complete trials; None until it is known.
        n_failed: Number of trials that failed in this process.

    Raises:
        StoppedError: The store cannot be reached, read or written. Every method may raise this error.
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
            UsageError: The configuration, images or software of the study have changed, so new trials would not be
                comparable with the recorded trials.
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
            # Archive duplicate parent runs. Another process may have created a parent run at the same time. This
            # process may have created two parent runs if the reply to its first attempt was lost.
            for duplicate in self._current()[1:]:
                _archive(self.store, duplicate.run_id)
                self.store.client.set_terminated(duplicate.run_id, "KILLED")
            self._complete_parent_run()
            self._resume(parent.tags)
            if times == 1:
                self._adopt_children()
        return self

    def _restore(self, parent: RunRecord) -> None:
        """Restore the study's parent run if a user deleted it in MLflow but kept the runs of its trainings."""
        if self.store.client.get_run(parent.run_id).info.lifecycle_stage == "deleted":
            self.store.client.restore_run(parent.run_id)
            _log.warning("the parent run of the study %s was deleted in MLflow and is now restored", self._config.name)

    def _refuse_if_running(self, parent: RunRecord) -> None:
        """Raise an error if another process runs the study.

        For a process on this machine, the operating system reports whether the process is alive. A process on another
        machine counts as alive if its heartbeat changes while this method waits. The age of the heartbeat is ignored,
        because the clocks of two machines may differ.

        Raises:
            StoppedError: Another process is running the study.
        """
        claim = parent.claimed_by
        if claim is not None and not claim.is_near():
            _log.warning(
                "the study is claimed by %s; waiting up to %.0f s for its next heartbeat", claim, _BEATS * HEARTBEAT_S
            )
            if not self._beats(parent):
                return
            raise _running(parent, claim)
        if parent.owner is not None:
            raise _running(parent, parent.owner)

    def _beats(self, parent: RunRecord) -> bool:
        """Wait for `_BEATS` heartbeat intervals at most, and return whether the heartbeat of the study changed.

        The wait ends early if the owner releases the study. The result is then false.
        """
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
        """Attach existing runs to the study's new parent run, after the old parent run was permanently deleted."""
        client, run_id = self.store.client, self.study.run_id
        # In a sampled design, training runs are children of trial runs. So only the trial runs are attached here.
        roles = (Role.TRIAL, Role.TRAINING) if self.study.config.design.seeds is None else (Role.TRIAL,)
        for role in roles:
            for run in self.reader.runs(self.study.key, role):
                if run.tags.get(Tag.PARENT) != run_id:
                    client.set_tag(run.run_id, Tag.PARENT, run_id)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the study. If the ``with`` block raised an error, ignore errors of the release."""
        if isinstance(error, StoreError) and error.is_unavailable:
            return  # the store is still unavailable after all retries, so the release would fail too
        with suppress(*([StoppedError] if error is not None else [])):
            if not self._is_ended:
                self.end()
            with failures():
                if self._is_mine():
                    self._drop_tag(self.study.run_id, Tag.OWNER)

    def _current(self) -> list[RunRecord]:
        """The parent runs with the configured study name that are not archived, oldest first.

        If the store is a server, first wait until runs that other processes have just created are visible.
        """
        if self.store.path is None:
            time.sleep(_SETTLED_S)
        return self.reader.current_studies(self._config.name)

    def _become_owner(self, former_owner: str) -> None:
        """Record this process as the owner of the study. The former owner is dead or has released the study.

        Each process writes a request tag with a random id, and reads the requests of the other processes. A process
        gives up if it finds a smaller id. The process with the smallest id waits until the other requests are gone,
        then becomes the owner. This process also gives up if another process becomes the owner in the meantime.

        Raises:
            StoppedError: Another process owns the study, or has written a request with a smaller id.
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
                    raise StoppedError(cause, "Wait until the other process ends, or stop it.")
                time.sleep(_POLL_S)
            client.set_tag(study.run_id, Tag.HEARTBEAT, f"{time.time():.0f}")
            client.set_tag(study.run_id, Tag.OWNER, study.owner.text())
        finally:
            self._drop_tag(study.run_id, me)

    def _drop_tag(self, run_id: str, name: str) -> None:
        """Delete a tag of a run. If the tag is missing, do nothing: a previous try of the same call may have worked."""
        try:
            self.store.client.delete_tag(run_id, name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise

    def _is_mine(self) -> bool:
        claim = self.store.client.get_run(self.study.run_id).data.tags.get(Tag.OWNER, "")
        return bool(claim == self.study.owner.text())

    def _resume(self, recorded: Mapping[str, str]) -> None:
        """Record that the study is running.

        Args:
            recorded: Recorded tags of the parent run. Their bookkeeping is kept, and the text that users added to the
                note is kept too.
        """
        study = self.study
        client, config = self.store.client, study.config
        note = descriptions.begun(config, study.digits.name, self._command)
        changed = {
            Tag.LAST_RUN: str(int(time.time() * 1000)),
            Tag.TIMES_RUN: str(study.times),
            Tag.TOTAL: str(config.n_trials),
            Tag.NOTE: descriptions.merged(recorded.get(Tag.NOTE, ""), note),
            **({Tag.COMMAND: self._command} if self._command else {}),
        }
        tags = bookkeeping.packed({**bookkeeping.only(recorded), **changed})
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
        client.create_run(self.store.experiment_id, tags=bookkeeping.packed(tags))

    def _complete_parent_run(self) -> None:
        """Record the images, parameters and dataset of a new study.

        The dataset is recorded last. So a parent run with a dataset also has the images and the parameters.
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
        """Add `n` to the number of complete trials."""
        self.n_done = (self.n_done or 0) + n

    def heartbeat(self) -> None:
        """Record a heartbeat with the current time, and the number of complete trials if it is known.

        Raises:
            StoppedError: Another process has taken over the study, because it considered this process dead.
        """
        with failures():
            if not self._is_mine():
                name = self.study.config.name
                raise StoppedError(f"another process has taken over the study {name}", "Wait until that process ends.")
            tags = [RunTag(Tag.HEARTBEAT, f"{time.time():.0f}"), *done_tags(self.n_done)]
            self.store.client.log_batch(self.study.run_id, tags=tags)

    def end(self) -> None:
        """Close the open runs of the study. Close the parent run too if this process still owns the study."""
        self._is_ended = True
        # This call also closes duplicate runs, which MLflow creates if a reply is lost and the call is repeated.
        self.close_orphans()
        with failures():
            if not self._is_mine():
                return
            study, now_ms = self.study, int(time.time() * 1000)
            counts = {} if self.n_done is None else {"finished": self.n_done, "failed": self.n_failed}
            metrics = [Metric(f"trials_{name}", value, now_ms, study.times) for name, value in counts.items()]
            self.store.client.log_batch(study.run_id, metrics=metrics, tags=done_tags(self.n_done))
            self.store.client.set_terminated(study.run_id, self.status)

    def close_orphans(self) -> int:
        """Close the open runs of this study, and those of all other studies that no living process owns.

        The parent run of this study stays open.

        Returns:
            The number of runs that were closed.
        """
        with failures():
            left = list(self.store.search("attributes.status = 'RUNNING'"))
            if not left:
                return 0
            # An owner on another machine counts as alive. The clocks may differ, so the heartbeat may only seem old.
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
    """Archive the study with this name. The next start of a study with this name then creates a new study.

    The records of the archived study are kept.

    Args:
        store: Tracking store.
        name: Name of the study.
        keep: Callback that receives the key of the study before the study is archived. The callback saves other data
            of the study, such as report files. It is not called if no study has this name.

    Returns:
        Whether a study was archived.

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
    """A run record that contains these tags and no other data."""
    return RunRecord("", "", "", {}, {}, tags, 0)


def _is_request_of_living(claim: str) -> bool:
    """Whether the process that requests the ownership of a study is alive. `claim` is the value of the request tag."""
    owner = Owner.parse(claim)
    return owner is not None and owner.is_alive(owner.since_s)


def _running(parent: RunRecord, owner: Owner) -> StoppedError:
    return StoppedError(
        f"the study {parent.tags[Tag.STUDY]} is already running: {owner}",
        "Wait until the other process ends, or stop it.",
    )
