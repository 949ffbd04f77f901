from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from harness.tracking import owner
from harness.tracking.owner import DEAD_AFTER_S, Owner


def test_this_process_is_alive_and_reads_what_it_wrote() -> None:
    me = Owner.me()
    assert (me.host, me.pid) == (platform.node(), os.getpid())
    assert me.is_alive(0)
    assert Owner.parse(me.text()) == me


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"host": 1}', '{"host": "a", "pid": "many"}'])
def test_what_is_no_runner_is_none(text: str) -> None:
    assert Owner.parse(text) is None


def test_a_process_that_ended_is_dead_however_late_it_was_heard_of() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    me = Owner.me()
    dead = replace(me, pid=child.pid)
    child.communicate()
    assert not dead.is_alive(time.time())


def test_another_process_with_the_same_number_is_not_the_same() -> None:
    me = Owner.me()
    assert not replace(me, process_began_s=me.process_began_s - 60).is_alive(time.time())


def test_what_ran_before_the_machine_was_booted_is_dead() -> None:
    assert not replace(Owner.me(), boot_id="another").is_alive(time.time())


def test_on_another_machine_the_last_heartbeat_tells() -> None:
    elsewhere = replace(Owner.me(), host="elsewhere", machine_id="another", pid=1)
    assert elsewhere.is_alive(time.time() - DEAD_AFTER_S / 2)
    assert not elsewhere.is_alive(time.time() - 2 * DEAD_AFTER_S)


def test_of_another_container_of_this_machine_the_last_heartbeat_tells_too() -> None:
    beside = replace(Owner.me(), space="pid:[1]", pid=2**22)
    assert beside.is_alive(time.time())
    assert not beside.is_alive(time.time() - 2 * DEAD_AFTER_S)


def test_a_runner_says_what_where_and_since_when() -> None:
    me = replace(Owner.me(), pid=17, since_s=0)
    assert str(me).startswith(f"process 17 on {me.host}, since 19")


def test_the_time_of_the_boot_stands_for_its_id_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    owner.boot_id.cache_clear()
    monkeypatch.setattr("pathlib.Path.read_text", lambda _path: (_ for _ in ()).throw(FileNotFoundError()))
    assert abs(float(owner.boot_id()) - time.time()) < 10 * 365 * 86400
    owner.boot_id.cache_clear()


def test_a_machine_with_the_same_host_name_and_another_id_is_another_machine() -> None:
    elsewhere = replace(Owner.me(), machine_id="another", boot_id="another")
    assert not elsewhere.is_near()
    assert elsewhere.is_alive(time.time())


def test_the_same_machine_after_a_restart_has_no_owner_alive_at_once() -> None:
    before = replace(Owner.me(), boot_id="another")
    assert before.is_near() == bool(before.machine_id)
    if before.machine_id:
        assert not before.is_alive(time.time())


def test_without_an_id_of_the_machine_only_the_present_boot_is_near() -> None:
    assert replace(Owner.me(), machine_id="").is_near()
    assert not replace(Owner.me(), machine_id="", boot_id="another").is_near()
    assert Owner.parse(json.dumps({k: v for k, v in asdict(Owner.me()).items() if k != "machine_id"})) is not None
