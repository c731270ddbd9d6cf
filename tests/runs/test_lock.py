import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

from age_tasks.environment import PROJECT
from age_tasks.runs.lock import exclusive


def test_one_holder_at_a_time(tmp_path: Path):
    inside, most = [], []

    def work(number: int) -> None:
        with exclusive(tmp_path / "work.lock"):
            inside.append(number)
            sleep(0.01)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert most == [1] * 40


def test_the_lock_file_is_removed_at_the_end_also_after_an_error(tmp_path: Path):
    path = tmp_path / "new" / "work.lock"
    for error in (None, ValueError):
        try:
            with exclusive(path):
                assert path.exists()
                if error:
                    raise error
        except ValueError:
            assert error
    assert list(path.parent.iterdir()) == []


def test_a_killed_process_holds_no_lock(tmp_path: Path):
    path = tmp_path / "work.lock"
    command = [sys.executable, "-m", "tests.programs.hold_lock", str(path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT)
    assert holder.stdout.readline() == b"held\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_enter, path)
        sleep(0.3)
        assert not waiting.done()
        os.kill(holder.pid, signal.SIGKILL)
        assert waiting.result(30)
    holder.communicate()


def _enter(path: Path) -> bool:
    with exclusive(path):
        return True
