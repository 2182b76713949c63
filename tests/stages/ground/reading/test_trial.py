"""A file that crashes a library, or holds it for ever, is lost to another process, and refused in a sentence here."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from stages.ground.errors import InputError
from stages.ground.reading import trial as trial_file
from stages.ground.reading.hdf5_files import dataset, hdf5_file
from stages.ground.reading.matlab_files import read_mat
from stages.ground.reading.trial import TRIAL, LibraryLost, Trial

ROOT = Path(__file__).resolve().parents[4]

# The toolkit's own program, but with a reader that does what the file says.
OBEDIENT = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from stages.ground.reading import trial_process

def obey(path, seconds):
    with open(path) as file:
        word = file.read()
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "exit":
        os._exit(3)
    if word == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "killed once" and not os.path.exists(path + ".mark"):
        open(path + ".mark", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "error":
        raise ValueError("damaged")
    print("something of its own")
    while word == "hang":
        pass

trial_process._READERS["HDF5"] = ("json", obey)
trial_process.main()
"""


@pytest.fixture
def obedient(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(OBEDIENT)
    trial = Trial(0.3, program)
    yield trial
    trial.end()


def named(folder, word):
    path = folder / f"{word}.h5"
    path.write_text(word)
    return path


# What becomes of a file


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("crash", "the library for HDF5 files crashes on it, by SIGSEGV"),
        ("exit", "the library for HDF5 files crashes on it, by exit code 3"),
        ("hang", "the library for HDF5 files comes to no end with it"),
        (
            "killed",
            "the library for HDF5 files was ended twice while it read it, by SIGKILL, as happens when memory runs out",
        ),
    ],
)
def test_a_lost_library_is_told_and_the_next_file_is_tried_again(obedient, tmp_path, word, told):
    for _ in range(2):
        with pytest.raises(LibraryLost, match=f"^{told}$"):
            obedient.check(named(tmp_path, word), "HDF5")
    obedient.check(named(tmp_path, "whole"), "HDF5")


def test_a_process_that_something_else_ended_says_nothing_about_the_file(obedient, tmp_path):
    obedient.check(named(tmp_path, "killed once"), "HDF5")
    assert obedient.n_tried == 2


def test_errors_are_left_to_the_reader_and_may_be_gone_next_time(obedient, tmp_path):
    for n_tried in (1, 2):
        obedient.check(named(tmp_path, "error"), "HDF5")
        assert obedient.n_tried == n_tried


def test_a_file_is_tried_once_while_it_stays(obedient, tmp_path):
    path = named(tmp_path, "whole")
    for _ in range(3):
        obedient.check(path, "HDF5")
    assert obedient.n_tried == 1
    path.write_text("whole again")
    obedient.check(path, "HDF5")
    assert obedient.n_tried == 2


def test_a_lost_library_is_one_sentence_with_the_name_of_the_file(obedient, tmp_path, monkeypatch):
    monkeypatch.setattr("stages.ground.reading.hdf5_files.TRIAL", obedient)
    path = named(tmp_path, "crash")
    with pytest.raises(InputError) as caught, hdf5_file(path, "take a copy"):
        pass
    assert str(caught.value) == (
        f"{path} cannot be read as HDF5 (the library for HDF5 files crashes on it, by SIGSEGV); take a copy."
    )


def test_folders_pipes_and_absent_files_are_left_to_the_reader(obedient, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    obedient.check(tmp_path, "HDF5")
    obedient.check(tmp_path / "pipe", "HDF5")
    assert obedient.n_tried == 0
    with pytest.raises(InputError, match="There is no file"), hdf5_file(tmp_path / "absent.h5"):
        pass


@pytest.mark.skipif(sys.platform == "darwin", reason="file names are UTF-8 there")
def test_names_are_any_bytes(obedient, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff \n.h5")
    Path(path).write_text("crash")
    with pytest.raises(LibraryLost, match="SIGSEGV"):
        obedient.check(path, "HDF5")


# The real libraries


def test_hdf5_text_whose_heap_is_zeroed_does_not_hang(tmp_path, monkeypatch):
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        file["splits"] = np.array(["train", "later", "test"] * 9, dtype=object)
    content = bytearray(path.read_bytes())
    # Each text stands behind its number, its count of references and its length, 16 bytes.
    start = content.index(b"later") - 16
    assert content[start + 8] == len("later")
    content[start : start + 24] = bytes(24)
    path.write_bytes(content)
    monkeypatch.setattr(TRIAL, "seconds", 0.5)
    with (
        pytest.raises(InputError, match="mine.h5 cannot be read as HDF5 .*copy the file again"),
        hdf5_file(path) as file,
    ):
        dataset(file, "splits")[()]


def test_ordinary_files_are_read_as_they_were_written(tmp_path):
    draw = np.random.default_rng(0)
    betas, names = draw.normal(size=(40, 7)).astype(np.float32), np.array(["a", "bc"], dtype=object)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("subj01")
        group.create_dataset("betas", data=betas, chunks=(3, 2), compression="gzip")
        group.attrs["unit"] = "percent"
        file["names"] = names
        file["loop"] = group
        file["away"] = h5py.ExternalLink("absent.h5", "/x")
        references = file.create_dataset("references", (2,), h5py.ref_dtype)
        references[:] = [group.ref, h5py.Reference()]
    scipy.io.savemat(tmp_path / "a.mat", {"betas": betas, "names": names, "more": {"n": 3}}, do_compression=True)
    before = TRIAL.n_tried
    for _ in range(2):
        with hdf5_file(tmp_path / "a.h5") as file:
            assert np.array_equal(dataset(file, "subj01/betas")[()], betas)
        content = read_mat(tmp_path / "a.mat", squeeze_me=True)
        assert np.array_equal(content["betas"], betas) and content["names"].tolist() == ["a", "bc"]
    assert TRIAL.n_tried == before + 2


# The process


def ended(pid):
    """Whether a process has ended; nobody may have asked for the exit code of one without a parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return True
        time.sleep(0.02)
    return False


def run_script(text, **options):
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        **options,
    )


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are not files here")


@linux
def test_it_ends_with_its_parent_although_a_forked_process_lives_on(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = [1]
    script = run_script(
        "import json, os, sys, time\n"
        "from stages.ground.reading.trial import TRIAL\n"
        f"path = {str(tmp_path / 'a.h5')!r}\n"
        "TRIAL.check(path, 'HDF5')\n"
        "first = TRIAL._process.pid\n"
        "forked = os.fork()\n"
        "if not forked:\n"
        "    os.utime(path)\n"
        "    TRIAL.check(path, 'HDF5')\n"
        "    print(json.dumps([first, os.getpid(), TRIAL._process.pid]), flush=True)\n"
        "time.sleep(60)\n"
    )
    first, forked, second = json.loads(script.stdout.readline())
    try:
        assert first != second and not ended(first)
        script.kill()
        script.wait()
        assert wait_for(lambda: ended(first))
        assert not ended(forked) and not ended(second)
    finally:
        os.kill(forked, signal.SIGKILL)
    assert wait_for(lambda: ended(second))
    script.stdout.close()


def test_an_interrupt_ends_it_and_the_next_answer_belongs_to_the_next_file(obedient, tmp_path, monkeypatch):
    asked = Trial._asked
    obedient.check(named(tmp_path, "whole"), "HDF5")

    def interrupted(self, question):
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        raise KeyboardInterrupt

    monkeypatch.setattr(Trial, "_asked", interrupted)
    with pytest.raises(KeyboardInterrupt):
        obedient.check(named(tmp_path, "error"), "HDF5")
    monkeypatch.setattr(Trial, "_asked", asked)
    with pytest.raises(LibraryLost, match="SIGSEGV"):
        obedient.check(named(tmp_path, "crash"), "HDF5")


@pytest.mark.parametrize("executable", ["", "/bin/false", "/absent/python"])
def test_without_a_process_files_are_read_directly(tmp_path, monkeypatch, executable):
    monkeypatch.setattr(trial_file.sys, "executable", executable)
    trial = Trial()
    trial.check(named(tmp_path, "whole"), "HDF5")
    assert trial.n_tried == 0
    monkeypatch.undo()
    trial.check(named(tmp_path, "error"), "HDF5")
    assert trial.n_tried == 0


def test_a_program_that_never_answers_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "program.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(trial_file, "START_SECONDS", 0.2)
    trial = Trial(program=tmp_path / "program.py")
    trial.check(named(tmp_path, "whole"), "HDF5")
    assert trial.n_tried == 0 and trial._process is None
