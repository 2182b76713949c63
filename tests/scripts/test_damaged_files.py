"""Ways to damage files, and the files that are read one by one: valid they are read, as another file they are refused."""

import numpy as np
import pytest
from damaged_files import mutations
from damaged_files.of_any_file import ANY, OTHER_FILES
from damaged_files.single_files import digests, single_files

from stages.ground.errors import InputError
from weights.manifest import CheckpointError

# Any line of text may be an identifier; a training begins anew; a plain text is no table of TOML.
TAKES_ANYTHING = ("own, ids of rows", "training, checkpoint")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return single_files(tmp_path_factory.mktemp("single"))


def test_a_valid_file_is_read_and_another_one_in_its_place_is_refused(files):
    assert len({kind for kind, _, _ in files}) == 17
    for kind, path, read in files:
        valid, content = digests(read(path)), path.read_bytes()
        assert valid and digests(read(path)) == valid, kind
        for what in ("a web page", "a pointer of Git LFS"):
            path.write_bytes(OTHER_FILES[what])
            try:
                found = digests(read(path))
            except (InputError, CheckpointError) as error:
                assert path.name in str(error) or path.stem in str(error), f"{kind}: {error}"
                assert "\n" not in str(error)
            else:
                assert kind in TAKES_ANYTHING and found != valid, kind
        path.write_bytes(content)
        assert digests(read(path)) == valid, kind


@pytest.mark.parametrize("suffix", sorted(mutations.OF_SUFFIX))
def test_the_same_draw_damages_in_the_same_way(tmp_path, suffix):
    content = b'{"a": [1, 2]}\n"b" = "c"\n' * 20
    for seed in range(8):
        told = set()
        for name in ("one", "other"):
            path = tmp_path / f"{name}{suffix}"
            path.write_bytes(content)
            way = mutations.damage(path, np.random.default_rng(seed))
            told.add((way, path.read_bytes()))
        assert len(told) == 1
        assert (way == "nothing") == (path.read_bytes() == content)


def test_every_way_has_a_name_of_its_own():
    ways = {way for own in mutations.OF_SUFFIX.values() for way in own} | set(ANY)
    assert len({way.__name__ for way in ways}) == len(ways) and all(way.__doc__ for way in ways)
