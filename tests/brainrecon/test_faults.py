"""Disks that fail, fill up or lose power at any moment of small pieces of work: the same command ends in the same folder."""

import contextlib
import errno
import json
import os
import random
import warnings

import pytest
from faulty_disk import Failure, disk_calls, power_cuts, restore, state_of

from brainrecon.cli.main import run_command

TINY = ("--weights", "tiny", "--set", "generator.num_inference_steps=2")


def run(method, *options):
    """The line that does a whole run, by where the data are and where it may write."""
    return lambda data, disk: ["run", method, data, *options, "--out", disk / "run", "--features", disk / "features"]


# What is done, and of how many moments the quick test takes a sample.
WORKS = {
    "data prepare": (lambda data, disk: ["data", "prepare", data, "--out", disk / "out"], 14),
    "features": (lambda data, disk: ["features", data, "--store", disk, *TINY, "--targets", "clip_image"], 6),
    "run": (run("ridge-to-pixels"), 6),
    # A picture is equal to the byte, whatever is drawn together with it, only if that is asked for.
    "run with values on the way": (run("brain-diffuser", *TINY, "--reproducible"), 0),
}
# Of the slow test; a smaller number for a first look.
EVERY = int(os.environ.get("FAULTS", "10000"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A smaller cohort than the tests' own: everything is done again and again."""
    folder = tmp_path_factory.mktemp("small") / "nsd"
    few = "--sessions 2 --trials-per-session 30 --shared 5 --voxels 160"
    assert run_command(["simulate", str(folder), *few.split()]) == 0
    return f"nsd:{folder}"


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def work(request, data, disk):
    """Do a piece of work: exit code, and what was said of an error."""
    line = [str(part) for part in WORKS[request.param][0](data, disk)]

    def do(capsys):
        capsys.readouterr()
        with warnings.catch_warnings():
            # Of what was damaged and is made anew.
            warnings.simplefilter("ignore")
            code = run_command(line)
        return code, (capsys.readouterr().err.splitlines() or [""])[-1]

    return do


def compared(folder):
    """Everything in a folder to the byte, but for two things that tell how one came there.

    Locks stay where somebody asked for one. Lines of the manifest have their times, come in the order of drawing, and may be
    there twice; which files have a line, and with what hash, is compared.
    """
    found = {name: content for name, content in state_of(folder).items() if not name.endswith(".lock")}
    for name in found:
        if name.endswith("manifest.jsonl"):
            found[name] = set()
            for line in (folder / name).read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    found[name].add((json.loads(line)["file"], json.loads(line)["sha256"]))
    return found


def differences(found, expected):
    names = sorted(found.keys() | expected.keys())
    return {
        name: "other" if name in found and name in expected else "left" if name in found else "missing"
        for name in names
        if name not in found or name not in expected or found[name] != expected[name]
    }


def chosen(states, count, seed=1):
    """Some of the states, of every way in turn."""
    by_way, lots = {}, random.Random(seed)
    for state in states:
        by_way.setdefault(state[0].split()[0], []).append(state)
    for own in by_way.values():
        lots.shuffle(own)
    turns = max(map(len, by_way.values()))
    return [own[turn] for turn in range(turns) for own in by_way.values() if turn < len(own)][:count]


def check_power_cuts(work, disk, capsys, count):
    with power_cuts(disk) as states:
        assert work(capsys)[0] == 0
    expected = compared(disk)
    assert len(states) > 50 and any(content is not None for content in states[-1][1].values())
    wrong = {}
    for what, state in chosen(states, count):
        restore(disk, state)
        code, told = work(capsys)
        if code or (differing := differences(compared(disk), expected)):
            wrong[what] = told if code else differing
    assert not wrong


def check_failures(work, disk, capsys, error, count):
    with disk_calls(disk, none := Failure()):
        assert work(capsys)[0] == 0
    expected = compared(disk)
    first = {site: number for number, site in reversed(list(enumerate(none.sites)))}
    numbers = sorted(first.values())
    numbers = sorted(random.Random(2).sample(numbers, min(count, len(numbers))))
    wrong = {}
    for number in numbers:
        restore(disk, {})
        with disk_calls(disk, Failure(number, error)):
            code, told = work(capsys)
        # What was no hindrance needs no word.
        if code not in (0, 2):
            wrong[f"{none.sites[number]}, at once"] = code, told
        restore(disk, state_of(disk))
        code, told = work(capsys)
        if code or (differing := differences(compared(disk), expected)):
            wrong[none.sites[number]] = told if code else differing
    assert not wrong


QUICK = [name for name, (_, count) in WORKS.items() if count]


@pytest.mark.parametrize("work", QUICK, indirect=True)
def test_after_a_power_cut_the_same_command_ends_in_the_same_folder(request, work, disk, capsys):
    check_power_cuts(work, disk, capsys, WORKS[request.node.callspec.params["work"]][1])


@pytest.mark.slow
@pytest.mark.parametrize("work", WORKS, indirect=True)
def test_after_a_power_cut_at_any_moment_the_same_command_ends_in_the_same_folder(work, disk, capsys):
    check_power_cuts(work, disk, capsys, EVERY)


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("work", ["data prepare"], indirect=True)
def test_a_disk_that_fails_or_is_full_is_told_and_gone_on_from(work, disk, capsys, error):
    check_failures(work, disk, capsys, error, 8)


@pytest.mark.slow
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("work", WORKS, indirect=True)
def test_a_disk_that_fails_or_is_full_at_any_place_is_told_and_gone_on_from(work, disk, capsys, error):
    check_failures(work, disk, capsys, error, EVERY)
