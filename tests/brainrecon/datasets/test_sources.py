import re
import shutil

import pytest

from brainrecon.datasets import kinds, load, parse_source
from brainrecon.datasets.arrays.writing import write_template
from stages.ground.errors import InputError


def test_a_source_is_a_kind_and_a_path(tmp_path):
    kind, path = parse_source(f"nsd:{tmp_path}/a: b")
    assert kind == "nsd" and path == tmp_path / "a: b"
    assert parse_source("digits69:~/x.mat")[1].is_absolute()


@pytest.mark.parametrize(
    "data, told",
    [("/data/nsd", "kind:path.*nsd:/data/nsd"), ("nsd:", "kind:path"), ("mri:/x", "no kind of data 'mri'")],
)
def test_other_sources_list_the_kinds(data, told):
    with pytest.raises(InputError, match=told) as caught:
        load(data)
    assert all(kind in str(caught.value) for kind in kinds())


def test_a_folder_that_may_not_be_listed_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    # Root may list everything.
    monkeypatch.setattr("os.access", lambda place, how: False)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} may not be listed by this user; ask its owner")):
        parse_source(f"nsd:{tmp_path}")


def test_parts_that_do_not_fit_each_other_are_told_with_their_place(tmp_path):
    write_template(tmp_path / "mine")
    shutil.copyfile(tmp_path / "mine/test/trials.csv", tmp_path / "mine/train/trials.csv")
    for name in ("betas.npy", "images.npy", "captions.json"):
        shutil.copyfile(tmp_path / "mine/test" / name, tmp_path / "mine/train" / name)
    with pytest.raises(InputError, match=re.escape(f"The data at {tmp_path}/mine do not fit each other: ")):
        load(f"arrays:{tmp_path}/mine")
