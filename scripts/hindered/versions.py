"""Folders of another version or configuration: what was recorded is forged, and put back afterwards."""

import json
import re
import tomllib

import tomli_w

from hindered.hindrances import Hindrance
from weights.seals import SEAL, seal


def _forged(name, how, pattern, change, named=()):
    """A hindrance by which the files of a pattern say something else, and that pattern."""
    kept = {}

    def lay(place):
        for path in sorted(place.disk.glob(pattern)):
            kept[path] = path.read_bytes()
            path.write_bytes(change(kept[path].decode()).encode())
            if (sealed := path.with_name(SEAL)).exists():
                # A folder of another version is whole.
                kept[sealed] = sealed.read_bytes()
                sealed.unlink()
                seal(path.parent)

    def lift(place):
        for path, content in kept.items():
            path.write_bytes(content)
        kept.clear()

    return Hindrance(name, how, lay, lift, named=named, is_forged=True), pattern


def _json(change):
    def changed(text):
        values = json.loads(text)
        change(values)
        return json.dumps(values, indent=1) + "\n"

    return changed


def _older_packages(values):
    values["packages"] |= {"brainrecon": "0.0.1", "torch": "1.13.1", "numpy": "1.20.0"}
    # Not yet written then.
    for name in ("threads", "details", "responses"):
        values.pop(name, None)


def _newer_packages(values):
    values["packages"] |= {"brainrecon": "99.0.0"}
    values["something of a later version"] = [1, 2]


def _settings_beside(values):
    """As the first versions wrote it: the settings of the method beside its name."""
    values |= values.pop("settings")


def _plan_of_an_older_one(values):
    for name in ("folds", "split", "split_checkpoint", "preset", "options"):
        values.pop(name, None)
    for method in values["methods"].values():
        _settings_beside(method)


def _toml(change):
    def changed(text):
        values = tomllib.loads(text)
        change(values)
        return tomli_w.dumps(values)

    return changed


def _later_line(line):
    def changed(text):
        return f"{line}\n{text}"

    return changed


def _manifest_in_the_future(text):
    return re.sub(r'"time": [\d.]+', '"time": 9999999999.0', text)


OF_RUNS = [
    _forged("another version", "environment.json of an older one", "run/environment.json", _json(_older_packages)),
    _forged("another version", "environment.json of a newer one", "run/environment.json", _json(_newer_packages)),
    _forged("another version", "config.toml of an older one", "run/config.toml", _toml(_settings_beside)),
    _forged("another version", "config.toml of a newer one", "run/config.toml", _later_line("later = 1"), ("later",)),
    _forged(
        "another version",
        "decoder/config.json of a newer one",
        "run/decoder/config.json",
        _json(lambda values: values.update({"later": 1})),
    ),
    _forged(
        "another version",
        "tables of features laid out otherwise",
        "features/*/config.json",
        _json(lambda values: values.update({"layout": "rows"})),
    ),
    _forged("clock", "a manifest of the future", "run/manifest.jsonl", _manifest_in_the_future),
]
OF_BENCHMARKS = [
    _forged("another version", "benchmark.toml of a newer one", "bench/benchmark.toml", _later_line("later = 1")),
    _forged(
        "another version",
        "benchmark.toml of an older one",
        "bench/benchmark.toml",
        _toml(_plan_of_an_older_one),
    ),
]


def another_configuration(words):
    """The same folder, and something else that is asked for."""

    def line(typed):
        return [*typed, *words.split()]

    return Hindrance("another configuration", words, line=line)
