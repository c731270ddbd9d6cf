import contextlib
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

from age_tasks.runs.lock import LOCK, alone

HOLD = """
import sys, time
from pathlib import Path
from age_tasks.runs.lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_at_a_time(tmp_path: Path):
    inside, most = [], []

    def work(number: int) -> None:
        with alone(tmp_path / "work"):
            inside.append(number)
            sleep(0.01)
            most.append(len(inside))
            shutil.rmtree(tmp_path / "work")
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    assert most == [1] * 40


def test_what_was_left_in_the_folder_stays_and_an_empty_one_goes(tmp_path: Path):
    with alone(tmp_path / "kept"):
        (tmp_path / "kept" / "epoch1").touch()
    with alone(tmp_path / "empty"):
        pass
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "kept", tmp_path / "kept" / "epoch1"]


def test_a_folder_that_was_removed_and_made_anew_is_the_other_s(tmp_path: Path):
    folder = tmp_path / "work"
    with contextlib.ExitStack() as other:
        with alone(folder):
            shutil.rmtree(folder)
            other.enter_context(alone(folder))
        assert (folder / LOCK).exists()
    assert not folder.exists()


def test_a_killed_process_holds_nothing(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "work")], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_enter, tmp_path / "work")
        sleep(0.3)
        assert not waiting.done()
        os.kill(holder.pid, signal.SIGKILL)
        assert waiting.result(30)
    holder.communicate()


def _enter(folder: Path) -> bool:
    with alone(folder):
        return True
