"""Which hindrances each work meets, and what becomes of one case."""

import errno
import shutil
from contextlib import nullcontext
from dataclasses import dataclass

from hindered import hindrances, versions
from hindered.command import typed
from hindered.folders import bytes_taken, content, differences, emptied, laid
from hindered.works import WORKS

GOOD = ("done", "done, told", "refused")
BAD = ("unexpected", "unnamed", "killed", "hang", "other result", "lost")
MEGABYTES = (2, 8, 24, 64, 160, 400)
ELSEWHERE = {
    "simulate": "--seed 9",
    "data prepare": "--roi V1",
    "fit": "--set generator.strength=0.9",
    "run": "--seed 7",
    "benchmark": "--seed 7",
}
"""What is asked for in place of what a folder was begun with."""


@dataclass(frozen=True)
class Undisturbed:
    """A work that nothing hindered.

    Attributes
    ----------
    template : pathlib.Path
        The disk before it.
    finished : pathlib.Path
        The disk after it.
    content : dict
        Of `finished`, as `folders.content` has it.
    """

    template: object
    finished: object
    content: dict


def undisturbed(place, names, kept):
    """Do some works, each in an empty disk, and keep what they start from and end in: name -> Undisturbed.

    What several works begin with is done once.
    """
    templates, found = {}, {}

    def after(lines):
        if lines not in templates:
            templates[lines] = kept / f"template-{len(templates)}"
            if lines:
                laid(after(lines[:-1]), place.disk)
                _succeed(place, lines[-1])
            else:
                emptied(place.disk)
            shutil.copytree(place.disk, templates[lines])
        return templates[lines]

    for name in names:
        work = WORKS[name]
        finished = after((*work.before, work.line))
        found[name] = Undisturbed(after(work.before), finished, content(finished))
    return found


def _succeed(place, line):
    ended = typed(WORKS["fit"].words(line, place), place.root)
    if ended.code != 0:
        raise SystemExit(f"Undisturbed, brainrecon {line} ended with {ended.code}: {' '.join(ended.told[-3:])}")


def hindrances_of(work, known, places, draw):
    """The hindrances of a work, each with whether it begins with the finished folder.

    Parameters
    ----------
    work : hindered.works.Work
    known : Undisturbed
    places : int
        At how many the disk is full.
    draw : numpy.random.Generator
        Draws them.
    """
    before = bytes_taken(known.template)
    grows = max(bytes_taken(known.finished) - before, 4096)
    for number in range(places):
        yield hindrances.full_disk(before, grows, (number + draw.random()) / places), False
    yield hindrances.read_only(), False
    yield hindrances.not_listed("disk"), False
    if "{data}" in work.line or work.before:
        yield hindrances.not_listed("data"), False
        yield hindrances.not_read("nsd/**/*"), False
    if work.before:
        yield hindrances.not_read("disk/run/**/*"), False
        yield hindrances.not_read("disk/features/**/*"), False
    if "{weights}" in work.line:
        yield hindrances.not_listed("weights"), False
        yield hindrances.not_read("published/weights/*"), False
    for number in (errno.ENOLCK, errno.ENOSYS):
        yield hindrances.no_locks(number), False
    for megabytes in MEGABYTES:
        yield hindrances.little_memory(round(megabytes * draw.uniform(0.75, 1.5), 1)), False
    yield hindrances.clock_back(3600), False
    yield hindrances.clock_back(20 * 365 * 86400), False
    yield hindrances.from_the_future(), False
    yield hindrances.from_the_future(), True
    for one, pattern in (*versions.OF_RUNS, *versions.OF_BENCHMARKS):
        for is_finished, folder in ((False, known.template), (True, known.finished)):
            if next(folder.glob(pattern), None):
                yield one, is_finished
                break
    if work.name in ELSEWHERE:
        yield versions.another_configuration(ELSEWHERE[work.name]), True


def outcome(work, known, hindrance, is_finished, place):
    """Do one case.

    Returns
    -------
    state : str
        One of `GOOD` or `BAD`.
    about : str
        What was told, or what is other.
    seconds : float
    """
    on_memory = hindrance.name == "full disk"
    with hindrances.disk_of_memory(place.disk) if on_memory else nullcontext():
        laid(known.finished if is_finished else known.template, place.disk)
        words = work.words(work.line, place)
        hindrance.lay(place)
        try:
            line = hindrance.line(words) if hindrance.line else words
            first = typed(line, place.root, hindrance.become)
        finally:
            hindrance.lift(place)
        state, told = _state(first, hindrance, place)
        after, is_whole = content(place.disk), not (is_finished or hindrance.is_forged)
        if state.startswith("done") and is_whole and (other := differences(after, known.content)):
            # It may be that what could not be kept was told, as of a report in a folder that is read-only.
            state, told = ("done, told", told) if state == "done, told" else ("other result", ", ".join(other[:4]))
        if (state in BAD and state != "unexpected") or (first.code == 0 and is_whole and after == known.content):
            return state, told, first.seconds
        again = typed(words, place.root, hindrance.become_after)
        other = differences(content(place.disk), known.content)
        if again.code != 0 or other:
            return "lost", f"{told} | again {again.code}: {' '.join(again.told[-2:])} {', '.join(other[:4])}", 0.0
        return state, told, first.seconds


def _state(ended, hindrance, place):
    told = " | ".join(ended.told)
    if isinstance(ended.code, str):
        return ("hang" if ended.code == "hang" else "killed"), f"{ended.code} {told[-300:]}"
    if ended.code == 0:
        return ("done, told" if told else "done"), told
    last = ended.told[-1] if ended.told else ""
    if ended.code != 2 or "Traceback" in told or "Unexpected" in told:
        return "unexpected", f"exit code {ended.code}: {last}"
    named = hindrance.named or (str(place.root),)
    return ("refused" if any(word in last for word in named) else "unnamed"), last
