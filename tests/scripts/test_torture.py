"""The script that kills work: what it calls equal, what it finds, and that a case comes again."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from killed_runs.comparison import differences
from killed_runs.kinds import KINDS
from PIL import Image
from torture import kind_of
from warm_processes import ROOT

# Work of a moment that each of its kills hits, and a saboteur that writes another byte each time.
PROGRAM = """
import os, sys, time
from pathlib import Path
import torture
from killed_runs.kinds import KINDS, Kind
from killed_runs.processes import in_child

def work(line):
    for number in range(10):
        Path(f"file-{number}").write_text(line)
        time.sleep(0.03)
    return 0

def sabotage(line):
    work(line)
    Path("file-7").write_text(line + os.urandom(8).hex())
    return 0

kinds = [Kind("sound", "all is well", do=work), Kind("sabotaged", "all is well", do=sabotage)]
cheap = [kind for kind in KINDS if kind.name == "simulate miyawaki"]
torture.import_all(["brainrecon.simulation"], ["brainrecon.cli.progress", "pandas", "nibabel", "h5py", "skimage.measure"])
codes = [
    torture.torture(torture.parse(["--count", "2", "--out", sys.argv[1]]), [*cheap, kinds[0]]),
    torture.torture(torture.parse(["--count", "1", "--only", "sabotaged", "--out", sys.argv[2]]), kinds),
]
# Each file is opened and written to: the fourth call is the writing of the second.
folder = Path(sys.argv[3])
ended = in_child(lambda: work("all"), folder, folder.parent, call=3)
print([ended.code, ended.place.split()[0], [path.read_text() for path in sorted(folder.iterdir())], codes])
"""


def test_work_that_goes_on_is_equal_and_a_saboteur_is_found(tmp_path):
    program = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n" + PROGRAM
    files = [tmp_path / "sound.json", tmp_path / "sabotaged.json"]
    (folder := tmp_path / "folder").mkdir()
    line = [sys.executable, "-c", program, *map(str, (*files, folder))]
    done = subprocess.run(line, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[None, 'write', ['all', ''], [0, 1]]", done.stdout
    sound, sabotaged = (json.loads(file.read_text())["cases"] for file in files)
    assert [case["outcome"] for case in sound] == ["equal", "equal"]
    assert {case["kind"] for case in sound} == {"simulate miyawaki", "sound"}
    assert all(case["kills"] for case in sound)
    assert [case["outcome"] for case in sabotaged] == ["differing"]
    assert sabotaged[0]["told"].startswith("file-7: other: byte 1")


def test_every_kind_comes_once_before_one_comes_again():
    for turn in range(2):
        numbers = range(turn * len(KINDS), (turn + 1) * len(KINDS))
        assert {kind_of(3, number, KINDS).name for number in numbers} == {kind.name for kind in KINDS}
    orders = [[kind_of(seed, number, KINDS).name for number in range(10)] for seed in (3, 4)]
    assert orders[0] != orders[1]


def picture(grey):
    import io

    written = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), grey, np.uint8)).save(written, format="PNG")
    return written.getvalue()


def manifest(**files):
    import hashlib

    lines = [
        {"file": f"{name}.png", "sha256": hashlib.sha256(content).hexdigest(), "time": len(files)}
        for name, content in files.items()
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def compared(found, expected, exact=False):
    return differences(found, expected, Path("/here/1"), Path("/here/2"), exact)


@pytest.mark.parametrize("exact", [False, True])
def test_a_picture_by_grey_levels(exact):
    two, three, four = ({"a.png": picture(grey), "manifest.jsonl": manifest(a=picture(grey))} for grey in (2, 3, 4))
    assert compared(two, two, exact) == ({}, 0)
    assert compared(three, two, exact)[1] == (0 if exact else 1)
    assert set(compared(three, two, exact)[0]) == ({"a.png"} if exact else set())
    assert set(compared(four, two, exact)[0]) == {"a.png"}


def test_scores_may_differ_only_where_a_picture_does():
    found = {"a.png": picture(3), "scores/p.json": b"1", "decoder/config.json": b"1"}
    assert compared(found, found | {"a.png": picture(2), "scores/p.json": b"2"}) == ({}, 1)
    assert set(compared(found, found | {"scores/p.json": b"2"})[0]) == {"scores/p.json"}
    assert set(compared(found, found | {"a.png": picture(2), "decoder/config.json": b"2"})[0]) == {
        "decoder/config.json"
    }


def test_what_is_left_missing_or_not_in_the_manifest_is_told():
    whole = {"a.png": picture(2), "b.png": picture(3), "manifest.jsonl": manifest(a=picture(2), b=picture(3))}
    assert compared(whole, {name: content for name, content in whole.items() if name != "b.png"})[0] == {
        "b.png": "left"
    }
    assert compared({name: content for name, content in whole.items() if name != "a.png"}, whole)[0] == {
        "a.png": "missing"
    }
    assert compared(whole | {"manifest.jsonl": manifest(a=picture(2))}, whole)[0] == {
        "manifest.jsonl": "no line for b.png"
    }
    assert compared(whole | {"manifest.jsonl": manifest(a=picture(2), b=picture(4))}, whole)[0] == {
        "manifest.jsonl": "another hash for b.png"
    }
    # Another order, other times, lines that are there twice, and half a line of a killed process.
    lines = manifest(b=picture(3)) + b'{"file": "a.p\n' + manifest(a=picture(2), b=picture(3))
    assert compared(whole | {"manifest.jsonl": lines}, whole) == ({}, 0)


def test_a_folder_may_tell_where_it_lies():
    assert compared({"a": b"in /here/1/run"}, {"a": b"in /here/2/run"}) == ({}, 0)
    assert "/here/3" in compared({"a": b"in /here/3/run"}, {"a": b"in /here/2/run"})[0]["a"]
