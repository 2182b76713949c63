"""A process by itself is the first; one that was started with others is told its place by its environment."""

import os

import pytest

from stages.ground.process_group import first_goes_first, is_first, leave, n_processes, of_first


def test_alone_it_is_the_first():
    assert n_processes() == 1 and is_first() and of_first(lambda: "mine") == "mine"
    with first_goes_first():
        pass
    with pytest.raises(ValueError), first_goes_first():
        raise ValueError


def test_its_place_is_told_and_can_be_left(monkeypatch):
    for name, value in {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(name, value)
    assert n_processes() == 4 and not is_first()
    monkeypatch.delenv("WORLD_SIZE")
    assert n_processes() == 1 and is_first()
    monkeypatch.setenv("WORLD_SIZE", "4")
    leave()
    assert n_processes() == 1 and is_first() and "LOCAL_RANK" not in os.environ
