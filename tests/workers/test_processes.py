"""Starting processes while the main process ends."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from tests.support import ROOT

# The new process runs before its arguments are written, and the main thread ends meanwhile.
CODE = """
    import threading, time
    from multiprocessing import resource_tracker, util
    from harness.workers import processes
    resource_tracker.ensure_running()
    spawn = util.spawnv_passfds
    def slowly(*arguments):
        pid = spawn(*arguments)
        time.sleep(1)
        return pid
    util.spawnv_passfds = slowly
    threading.Thread(target=processes.start, args=("not ours", print), daemon=True).start()
    time.sleep(0.5)
"""


def test_a_main_process_that_exits_while_it_spawns_another_leaves_no_traceback() -> None:
    command = [sys.executable, "-c", textwrap.dedent(CODE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_the_environment_can_be_read_by_one_thread_while_another_starts_processes() -> None:
    code = """
        import os, sys, threading
        from harness.workers import server
        sys.setswitchinterval(1e-6)
        failures = []
        def read():
            try:
                for _ in range(3000):
                    dict(os.environ.items())
            except Exception as error:
                failures.append(error)
        reader = threading.Thread(target=read)
        reader.start()
        while reader.is_alive():
            with server.starting():
                pass
        print(failures)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
