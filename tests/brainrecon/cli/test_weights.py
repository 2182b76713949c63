"""``brainrecon weights`` on a manifest of the test's own."""

import functools
import json

import pytest

from brainrecon.cli.main import run_command
from brainrecon.cli.weights import describe_pull
from weights import manifest as manifest_module
from weights import store
from weights.manifest import Checkpoint, write_manifest


@pytest.fixture
def model(tmp_path, monkeypatch):
    """The file of the only present checkpoint; another one is absent."""
    file = tmp_path / "weights" / "manifest.toml"
    model = file.parent / "tiny" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"0123456789")
    entries = [
        Checkpoint("small", "for the tests", "embedded", "tiny", "MIT"),
        Checkpoint(
            "large",
            "elsewhere",
            "hub:somebody/large@main",
            "large",
            "MIT",
            ("magic",),
            (store.CheckpointFile("a.bin"),),
        ),
    ]
    write_manifest({entry.name: entry for entry in entries}, file)
    store.record("small", model.parent, manifest=file)
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "user"))
    read = store.checkpoints
    monkeypatch.setattr(store, "checkpoints", lambda manifest=None: read(manifest or file))
    for function in ("verify", "path", "folder"):
        monkeypatch.setattr(store, function, functools.partial(getattr(store, function), manifest=file))
    return model


def run(capsys, *arguments):
    code = run_command(["weights", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_shows_what_is_present_and_what_is_not(capsys, model):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert rows[1][:2] == ["small", "present"] and rows[2][:2] == ["large", "absent"]
    assert "hub:somebody/large@main" in rows[2]


def test_verify_succeeds_and_lists_what_is_absent(capsys, model):
    code, out, err = run(capsys, "verify")
    assert (code, err) == (0, "")
    assert "small  verified" in out and "large  absent" in out
    assert out.endswith("1 verified, 1 absent\n")


def test_verify_names_the_damaged_file_in_one_sentence(capsys, model):
    model.write_bytes(b"0123456780")
    code, out, err = run(capsys, "verify")
    assert code == 2
    assert "small  damaged" in out and "large  absent" in out
    assert err.count("\n") == 1 and "model.safetensors has sha256" in err


def test_path_prints_the_folder_or_refuses(capsys, model):
    assert run(capsys, "path", "small") == (0, f"{model.parent}\n", "")
    code, out, err = run(capsys, "path", "large")
    assert (code, out) == (2, "") and "Checkpoint large is absent" in err
    code, out, err = run(capsys, "path", "huge")
    assert (code, out) == (2, "") and "known are small, large" in err


def test_the_default_manifest_is_the_packages_own():
    assert store.MANIFEST == manifest_module.MANIFEST
    assert store.MANIFEST.name == "manifest.toml" and store.MANIFEST.is_file()


def test_list_as_json_and_for_one_method(capsys, model):
    code, out, _ = run(capsys, "list", "--json")
    facts = {each["name"]: each for each in json.loads(out)}
    assert code == 0 and facts["small"]["state"] == "present" and facts["small"]["size"] == 10
    assert facts["large"] | {"folder": None} == {
        "name": "large",
        "role": "elsewhere",
        "state": "absent",
        "size": None,
        "reckoned_size": None,
        "origin": "hub:somebody/large@main",
        "licence": "MIT",
        "needed_by": ["magic"],
        "subject": None,
        "folder": None,
        "files": ["a.bin"],
        "note": None,
    }
    assert [each["name"] for each in json.loads(run(capsys, "list", "--for", "magic", "--json")[1])] == ["large"]
    code, out, err = run(capsys, "list", "--for", "nothing")
    assert (code, out) == (2, "") and "needed by 'nothing'; known are magic" in err


def test_the_packages_own_list_is_aligned(capsys):
    code, out, _ = run(capsys, "list", "--for", "brain-diffuser")
    lines = out.splitlines()
    column = lines[0].index("origin")
    assert code == 0 and len(lines) == 7
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in lines)


def test_pull_copies_converts_and_says_where(capsys, model, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(store, "MANIFEST", tmp_path / "weights" / "manifest.toml")
    hand = tmp_path / "hand"
    hand.mkdir()
    torch.save({"weight": torch.ones(2)}, hand / "a.bin")
    code, out, err = run(capsys, "pull", "--for", "magic", "--from", str(hand), "--remove-original")
    folder = tmp_path / "user" / "large"
    assert code == 0 and out.startswith("large: copied, 0.0 MB in ") and out.strip().endswith(str(folder))
    assert sorted(path.name for path in folder.iterdir()) == [".pulled.json", "a.safetensors"]
    assert run(capsys, "verify", "large")[1].endswith("1 verified\n")


def test_pull_refuses_in_one_sentence(capsys, model, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MANIFEST", tmp_path / "weights" / "manifest.toml")
    for arguments, words in (
        (("large", "--from", str(tmp_path / "nowhere")), "There is no folder"),
        (("small",), "travels with the package"),
        (("huge",), "known are small, large"),
        ((), "Name the checkpoints to pull"),
    ):
        code, out, err = run(capsys, "pull", *arguments)
        assert (code, out) == (2, "") and words in err and err.count("\n") == 1


def test_sizes_are_told_before_a_pull_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    # Reckoned from parameters: 859,520,964 of the image flow, four bytes each, and so on; pickles once more as safetensors.
    assert describe_pull(["versatile-diffusion"]) == [
        "versatile-diffusion: about 12.3 GB to fetch, up to 24.6 GB on disk with the pickles beside what is made of them "
        "(--remove-original leaves them out)"
    ]
    lines = describe_pull(["versatile-diffusion", "tiny-clip", "alexnet-imagenet1k-v1"], remove_original=True)
    assert lines == [
        "versatile-diffusion: about 12.3 GB to fetch",
        "alexnet-imagenet1k-v1: about 244.4 MB to fetch",
        "Together about 12.6 GB.",
    ]
    both = describe_pull(["icgan-biggan-imagenet256", "alexnet-imagenet1k-v1"], remove_original=True)
    assert both[0] == "icgan-biggan-imagenet256: of unknown size" and both[-1].endswith(", and 1 of unknown size.")


def test_pull_says_what_it_does_with_pickles(capsys):
    code, out, _ = run(capsys, "pull", "--help")
    assert code == 0 and "--remove-original" in out and "--from" in out and "--for" in out


def test_released_decoders_are_listed_with_their_subject_and_pulled_with_it(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path))
    code, out, _ = run(capsys, "list", "--for", "mindeye2023")
    (row,) = [line for line in out.splitlines() if line.startswith("mindeye2023-subj05-latent")]
    assert code == 0 and "subj05" in row and "about 2.3 GB" in row
    code, out, err = run(capsys, "pull", "--for", "mindeye2023", "--from", str(tmp_path / "nowhere"))
    assert out == (
        "Released decoders of mindeye2023 are listed for subj01, subj02, subj05, subj07; add those of one with --subject.\n"
    )
    assert "There is no folder" in err
    code, out, err = run(capsys, "pull", "--for", "mindeye2023", "--subject", "subj9", "--from", str(tmp_path))
    assert (code, out) == (2, "") and "is released for 'subj9'" in err and err.count("\n") == 1
    assert describe_pull(["mindeye2023-subj01-tokens"], remove_original=True) == [
        "mindeye2023-subj01-tokens: about 12.0 GB to fetch"
    ]
