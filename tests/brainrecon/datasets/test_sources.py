import re

import pytest

from brainrecon.datasets import kinds, load, parse_source
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
