"""The files of tests that took longest: said at the end of a run, and begun first when several processes share the work."""

from collections import Counter

LONGEST = (
    "tests/conformance/test_systems.py",
    "tests/test_packaging.py",
    "tests/conformance/test_datasets.py",
    "tests/conformance/test_many_subjects.py",
    "tests/conformance/test_generators.py",
    "tests/scripts/test_hostile_files.py",
    "tests/brainrecon/studies/test_benchmark.py",
    "tests/brainrecon/test_hostile_names.py",
    "tests/brainrecon/test_started_together.py",
    "tests/brainrecon/methods/test_takagi2023.py",
    "tests/brainrecon/test_whole_way.py",
    "tests/stages/decoders/local/test_multiscale.py",
    "tests/plugins/test_example_package.py",
    "tests/notebooks/test_notebooks.py",
    "tests/test_docstrings.py",
    "tests/brainrecon/methods/test_cmvdm2024.py",
    "tests/brainrecon/cli/test_training.py",
    "tests/stages/generators/diffusion/test_memory.py",
    "tests/stages/generators/diffusion/test_latent_diffusion.py",
    "tests/brainrecon/studies/test_few_hours.py",
    "tests/stages/networks/test_frozen_backbones.py",
    "tests/brainrecon/methods/test_mindeye2023_variants.py",
    "tests/conformance/test_decoder_options.py",
    "tests/scripts/test_documentation.py",
    "tests/brainrecon/methods/test_mindeye2023_released.py",
    "tests/brainrecon/methods/test_nulls.py",
    "tests/brainrecon/methods/test_shen2019_gan.py",
    "tests/brainrecon/simulation/test_simulate.py",
    "tests/brainrecon/methods/test_mindeye2023_killed.py",
    "tests/brainrecon/methods/test_dbdm2023.py",
    "tests/brainrecon/methods/test_miyawaki2008.py",
    "tests/stages/generators/language/test_blip_captioner.py",
    "tests/brainrecon/report/run/test_html.py",
    "tests/brainrecon/datasets/test_download.py",
    "tests/brainrecon/runs/test_draw.py",
    "tests/brainrecon/methods/test_takagi2023_depth.py",
)
"""Files that took more than 10 seconds on one core when last measured, longest first."""


def seconds_by_file(reports):
    """Sum the seconds of setup, call and teardown by file.

    >>> seconds_by_file([("tests/test_a.py::test_one", 1.5), ("tests/test_a.py::test_two[3]", 0.5)])
    Counter({'tests/test_a.py': 2.0})

    Parameters
    ----------
    reports : iterable of (str, float)
        Name of a test, and the seconds of one of its phases.

    Returns
    -------
    seconds : collections.Counter
    """
    seconds = Counter()
    for name, duration in reports:
        seconds[name.partition("::")[0]] += duration
    return seconds


def table(seconds, n_files):
    """Write the files that took longest, one a line, and the share that they have of all seconds.

    >>> print(*table({"tests/test_a.py": 3.0, "tests/test_b.py": 1.0}, 1), sep="\\n")
       3.0 s  tests/test_a.py
    75 % of the 4 s of 2 files

    Parameters
    ----------
    seconds : mapping from str to float
    n_files : int

    Returns
    -------
    lines : list of str
        Empty if no test ran.
    """
    total = sum(seconds.values())
    if not total:
        return []
    longest = Counter(seconds).most_common(n_files)
    share = 100 * sum(one for _, one in longest) / total
    lines = [f"{one:6.1f} s  {name}" for name, one in longest]
    return [*lines, f"{share:.0f} % of the {total:.0f} s of {len(seconds)} files"]


def longest_first(items):
    """Sort tests so that the files of `LONGEST` come first, in its order; all others stay as they are.

    Workers take file after file. A long one that is begun last leaves the other workers idle.
    """
    rank = {name: place for place, name in enumerate(LONGEST)}
    return sorted(items, key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


class SlowestFiles:
    """Sums the reports of a run, those of other processes too, and says the slowest files at its end.

    Parameters
    ----------
    n_files : int
    """

    def __init__(self, n_files):
        self.n_files, self.reports = n_files, []

    def pytest_runtest_logreport(self, report):
        self.reports.append((report.nodeid, report.duration))

    def pytest_terminal_summary(self, terminalreporter):
        if lines := table(seconds_by_file(self.reports), self.n_files):
            terminalreporter.section(f"slowest {min(self.n_files, len(lines) - 1)} files")
            for line in lines:
                terminalreporter.write_line(line)
