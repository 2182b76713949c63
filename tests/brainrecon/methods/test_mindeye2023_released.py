"""Released decoders of MindEye: the same outputs, a run that starts from them, and what is refused.

No released file was read: files are made at random, small, in the published layout.
"""

import json

import numpy as np
import pytest
import torch
from chains import chain_of
from released_mindeye import (
    LATENT,
    METHOD,
    TOKENS,
    networks_of,
    released_tokens,
    save_training,
    use_manifest,
    write_released,
)
from safetensors.torch import load_file, save_file
from small_systems import SMALL

from brainrecon.assembly.reconstructor import Reconstructor
from brainrecon.cli.main import run_command
from brainrecon.evaluation.scores.scores import Scores
from brainrecon.runs.run import Run
from stages.ground.errors import InputError
from weights import store
from weights.manifest import Checkpoint

N_VOXELS = 300


@pytest.fixture(scope="module")
def networks():
    return networks_of(small_chain(), N_VOXELS)


def small_chain():
    return chain_of(METHOD, SMALL[METHOD].nested(), "tiny")


@pytest.fixture(scope="module")
def kept(networks, tmp_path_factory):
    """A store into which both small files were pulled, with the manifest that names them."""
    folder = tmp_path_factory.mktemp("released")
    write_released(networks, folder / "hand")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(folder / "store"))
        use_manifest(folder / "manifest", N_VOXELS, patch)
        line = ["weights", "pull", "--for", METHOD, "--subject", "subj01", "--from", str(folder / "hand")]
        assert run_command([*line, "--remove-original"]) == 0
    return folder


@pytest.fixture
def pulled(kept, monkeypatch):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(kept / "store"))
    monkeypatch.setattr(store, "MANIFEST", kept / "manifest" / "manifest.toml")
    return kept


@pytest.fixture
def spoilt(kept, tmp_path, monkeypatch):
    """The same store, to be damaged: writer of other tensors into the file of a checkpoint."""
    import shutil

    from weights.records import Content, read_record, write_record

    shutil.copytree(kept / "store", tmp_path / "store")
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setattr(store, "MANIFEST", kept / "manifest" / "manifest.toml")

    def spoil(name, change):
        path = tmp_path / "store" / name / "model.safetensors"
        state = load_file(path)
        change(state)
        path.unlink()
        save_file(state, path)
        # As if such a file had been pulled.
        record = read_record(path.parent)
        made = record.made["model.safetensors"]
        record.made["model.safetensors"] = Content(path.stat().st_size, store.hash_file(path), source=made.source)
        write_record(record, path.parent)

    return spoil


@pytest.fixture(scope="module")
def line(cohort):
    settings = [part for text in SMALL[METHOD].settings for part in ("--set", text)]
    return [METHOD, f"nsd:{cohort}", "--weights", "tiny", *settings, "--subject", "subj01"]


ZSCORED = ["--option", "zscore=true"]
FROM_RELEASE = [*ZSCORED, "--decoder", "released"]


@pytest.fixture(scope="module")
def complete(kept, line, features, tmp_path_factory):
    """Folder of a run from the released files, drawn and scored."""
    folder = tmp_path_factory.mktemp("from-release") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BRAINRECON_WEIGHTS", str(kept / "store"))
        patch.setattr(store, "MANIFEST", kept / "manifest" / "manifest.toml")
        assert run_command(["run", *line, *FROM_RELEASE, "--out", str(folder), "--features", str(features)]) == 0
    return folder


def refused(capsys, arguments):
    capsys.readouterr()
    assert run_command([str(one) for one in arguments]) == 2
    # What was begun stands before the sentence.
    said = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("reading ")]
    assert len(said) == 1, said
    return said[0]


def test_a_pulled_decoder_holds_safetensors_alone(pulled):
    for name in (TOKENS, LATENT):
        files = [path.name for path in store.path(name).rglob("*") if path.is_file()]
        assert sorted(files) == [".pulled.json", "model.safetensors"]


def test_a_run_from_released_decoders_predicts_what_their_networks_give(complete, networks, pulled):
    run = Run(complete)
    patterns = torch.from_numpy(np.array(run.subject.test.patterns, dtype=np.float32))
    assert run.subject.train.standardized != "no"
    with torch.inference_mode():
        expected = networks["tokens"](patterns) | networks["latent"](patterns)
    found = run.embeddings
    assert found.keys() == {"clip_rough", "clip_retrieval", "sd_latent"}
    for name, values in found.items():
        # Rows of one batch, as the run predicts them.
        np.testing.assert_allclose(values, expected[name].flatten(1).numpy(), rtol=1e-5, atol=1e-6)
    stored = load_file(complete / "decoder" / "tokens" / "model.safetensors")
    assert torch.equal(stored["mean"], torch.zeros(N_VOXELS)) and torch.equal(stored["scale"], torch.ones(N_VOXELS))


def test_the_prior_of_a_released_decoder_samples(complete, networks, pulled):
    prior = Run(complete).chain.steps[0].decoder.network.network.net
    own = networks["tokens"].net
    assert all(torch.equal(value, own.state_dict()[name]) for name, value in prior.state_dict().items())


def test_the_run_records_where_its_decoder_came_from(complete, pulled):
    config = Run(complete).config
    assert config.decoder_from == (TOKENS, LATENT)
    recorded = json.loads((complete / "environment.json").read_text())["checkpoints"]
    assert recorded[TOKENS] == store.fingerprint(TOKENS) and recorded[LATENT] == store.fingerprint(LATENT)
    (path,) = (complete / "scores").glob("[!.]*.json")
    said = f"Decoder: released by its authors for subj01, not trained here ({TOKENS}, {LATENT})."
    assert said in Scores.from_json(path).notes
    assert said in (complete / "report.html").read_text()
    assert json.loads((complete / "decoder" / "tokens" / "config.json").read_text())["released"] == TOKENS


def test_nothing_is_encoded_or_trained(complete):
    names = {path.name for path in (complete / "decoder").rglob("*") if path.is_file()}
    assert names == {"method.json", "config.json", "model.safetensors", ".sealed.json"}


def test_the_same_command_goes_on_and_another_decoder_is_another_run(complete, line, pulled, capsys, features):
    before = {path: path.stat().st_mtime_ns for path in (complete / "decoder").rglob("*")}
    again = ["fit", *line, "--out", complete, "--features", features]
    assert run_command([str(part) for part in (*again, *FROM_RELEASE)]) == 0
    said = capsys.readouterr().out
    assert "not trained here" in said and f"as its authors released it ({TOKENS})" in said
    assert before == {path: path.stat().st_mtime_ns for path in (complete / "decoder").rglob("*")}
    assert "with decoder_from = " in refused(capsys, [*again, *ZSCORED])


def test_a_plan_says_that_nothing_is_fitted(line, pulled, tmp_path, capsys):
    assert run_command(["run", *line, *FROM_RELEASE, "--out", str(tmp_path / "run"), "--plan"]) == 0
    said = capsys.readouterr().out
    assert f"from {TOKENS}, nothing is fitted" in said and f"from {LATENT}, nothing is fitted" in said
    assert "taking sd_latent" in said and "fitting" not in said and "encoding" not in said and "fetching" not in said
    assert not list(tmp_path.iterdir())


def test_a_plan_says_what_is_to_be_fetched(line, pulled, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "empty"))
    assert run_command(["run", *line, *FROM_RELEASE, "--out", str(tmp_path / "run"), "--plan"]) == 0
    said = capsys.readouterr().out
    assert f"fetching {TOKENS}" in said and "about 12.0 MB" not in said and "12.0 MB" in said
    message = refused(capsys, ["fit", *line, *FROM_RELEASE, "--out", tmp_path / "run"])
    assert f"`brainrecon weights pull {TOKENS}`" in message
    assert not (tmp_path / "run").exists()


def test_one_part_is_taken_and_the_other_fitted(line, pulled, tmp_path, features, networks):
    folder = tmp_path / "run"
    arguments = ["fit", *line, *ZSCORED, "--decoder", LATENT, "--out", str(folder), "--features", str(features)]
    assert run_command(arguments) == 0
    chain = Run(folder).chain
    (tokens, latent) = chain.summary()
    assert set(tokens) == {"network", "parameters", "steps", "loss"} and set(latent) == {"network", "parameters"}
    assert torch.equal(chain.steps[1].decoder.network.network.lin1.weight, networks["latent"].lin1.weight)
    assert Run(folder).config.decoder_from == (LATENT,)


def test_a_folder_of_a_run_is_opened_in_a_notebook(complete, pulled):
    reconstructor = Reconstructor.from_pretrained(complete / "decoder")
    found = reconstructor.predict(np.zeros((2, N_VOXELS), np.float32))
    assert found["clip_rough"].shape == (2, 65 * 64)


# What is refused


@pytest.mark.parametrize(
    "more, words",
    [
        (["--decoder", "released"], "reads responses that are z-scored within each session.*--option zscore=true"),
        (
            [*ZSCORED, "--decoder", "mindeye"],
            "There is no decoder 'mindeye' of mindeye2023; expected one of released, small-subj01",
        ),
        ([*ZSCORED, "--decoder", "tiny-clip"], "tiny-clip is no decoder of mindeye2023, it holds no fitted step"),
        ([*FROM_RELEASE, "--folds", "3"], "--folds 3 fits a decoder to each fold"),
        ([*FROM_RELEASE, "--split", "ids:IDS"], "learned from .* of the .* stimuli that --split ids:.* tests"),
        ([*FROM_RELEASE, "--roi", "V1"], "reads 300 voxels but the responses have"),
        ([*ZSCORED, "--decoder", LATENT, "--set", "blurry=false"], "holds latent, which mindeye2023 does not learn"),
        (
            [*FROM_RELEASE, "--set", "decoder.hidden=32"],
            "do not fit MindEyeTokens at these settings .misshapen: voxel2clip.lin0",
        ),
        ([*FROM_RELEASE, "--set", "decoder.n_blocks=3"], "missing: voxel2clip.mlp.2.0.bias.*; leave the settings"),
    ],
)
def test_what_does_not_go_together_is_refused_and_leaves_nothing(line, pulled, cohort, tmp_path, capsys, more, words):
    import re

    import brainrecon

    trained = brainrecon.load(f"nsd:{cohort}", subject="subj01").train.stimulus_ids[:7]
    (tmp_path / "ids.txt").write_text("\n".join(map(str, trained)))
    more = [part.replace("IDS", str(tmp_path / "ids.txt")) for part in more]
    message = refused(capsys, ["fit", *line, *more, "--out", tmp_path / "run"])
    assert re.search(words, message), message
    assert [path.name for path in tmp_path.iterdir()] == ["ids.txt"]


def test_a_system_that_nobody_released_is_refused(cohort, pulled, tmp_path, capsys):
    ask = ["fit", "ridge-to-pixels", f"nsd:{cohort}", "--out", tmp_path / "run", "--decoder"]
    assert "No decoder of ridge-to-pixels is released for subj01; its authors released none" in refused(
        capsys, [*ask, "released"]
    )
    assert f"{TOKENS} is no decoder of ridge-to-pixels, it is of mindeye2023" in refused(capsys, [*ask, TOKENS])
    assert not (tmp_path / "run").exists()


def test_another_subjects_decoder_is_refused(cohort, kept, line, tmp_path, monkeypatch, capsys):
    """Of the same method, also with as many voxels."""
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(kept / "store"))
    file = (store.CheckpointFile("last.pth", becomes="model.safetensors"),)
    other = Checkpoint(
        *("small-subj02-tokens", "of another", "hub:datasets/somebody/weights@main", "other", "MIT", (METHOD,), file),
        subject="subj02",
        n_voxels=N_VOXELS,
        parts=("tokens",),
    )
    use_manifest(tmp_path / "manifest", N_VOXELS, monkeypatch, other)
    ask = ["fit", *line, *ZSCORED, "--out", tmp_path / "run", "--decoder"]
    message = refused(capsys, [*ask, "small-subj02-tokens"])
    assert "small-subj02-tokens decodes responses of subj02, but the run is of subj01; pass --subject subj02" in message
    second = Checkpoint(**vars(other) | {"name": "another", "folder": "another", "subject": "subj01"})
    use_manifest(tmp_path / "manifest2", N_VOXELS, monkeypatch, second)
    message = refused(capsys, [*ask, "released"])
    assert "For tokens of mindeye2023 and subj01 small-subj01-tokens, another are released; name one" in message
    message = refused(capsys, [*ask, TOKENS, "--decoder", "another"])
    assert "small-subj01-tokens and another both hold tokens of mindeye2023; name one of them" in message
    assert not (tmp_path / "run").exists()


def test_another_number_of_voxels_is_refused_before_anything_is_fetched(line, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "empty"))
    # The package's own manifest: subject 1 has 15,724 voxels in NSD.
    message = refused(capsys, ["fit", *line, *FROM_RELEASE, "--out", tmp_path / "run"])
    assert message == (
        "mindeye2023-subj01-tokens reads 15,724 voxels but the responses have 300; load the subject and roi that it learned from."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name, change, words",
    [
        (TOKENS, lambda state: state.update({"net.surplus": torch.zeros(1)}), "unexpected: net.surplus"),
        (TOKENS, lambda state: state.pop("noise_scheduler.betas"), "holds no table noise_scheduler.betas"),
        (TOKENS, lambda state: state["noise_scheduler.betas"][3].add_(0.01), "trained with another noise process: .*betas is"),
        (TOKENS, lambda state: state.pop("voxel2clip.lin1.bias"), "missing: voxel2clip.lin1.bias"),
        (
            TOKENS,
            lambda state: state["net.causal_transformer.layers.0.0.rotary_emb.freqs"].mul_(2),
            "layers.0.0.rotary_emb.freqs in .* differs from what the network shares it with",
        ),
        (LATENT, lambda state: state.pop("maps_projector.6.bias"), "missing: maps_projector.6.bias"),
        (LATENT, lambda state: state["norm.weight"][0].fill_(float("nan")), "norm.weight in .* holds NaN or infinite"),
        (LATENT, lambda state: state.update({"lin0.0.weight": torch.zeros(256, 299)}), "reads 299 voxels but the responses"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_refused_and_leave_nothing(
    line, spoilt, tmp_path, capsys, features, name, change, words
):
    """Also if the other file is sound and comes first."""
    import re

    spoilt(name, change)
    message = refused(capsys, ["fit", *line, *FROM_RELEASE, "--out", tmp_path / "run", "--features", features])
    assert re.search(words, message), message
    assert not (tmp_path / "run").exists()


def test_a_changed_file_is_refused(line, kept, tmp_path, spoilt, capsys):
    path = tmp_path / "store" / LATENT / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.unlink()
    path.write_bytes(content)
    message = refused(capsys, ["fit", *line, *FROM_RELEASE, "--out", tmp_path / "run"])
    assert f"Checkpoint {LATENT} is damaged: model.safetensors has sha256" in message
    assert not (tmp_path / "run").exists()


def test_a_step_without_a_released_file_says_so():
    from brainrecon.assembly.step import Step

    with pytest.raises(InputError, match="x is to be taken for the decoder, of which no released file is read"):
        Step().take("x", 3)


# The decoder of a run


def test_a_run_takes_the_decoder_of_another(complete, line, pulled, tmp_path, features):
    """What that one took is taken; other settings of drawing are allowed."""
    arguments = ["fit", *line, *ZSCORED, "--decoder", str(complete / "decoder"), "--set", "candidates=1"]
    assert run_command([*arguments, "--out", str(tmp_path / "run"), "--features", str(features)]) == 0
    run = Run(tmp_path / "run")
    assert run.config.decoder_from == (TOKENS, LATENT)
    for part in ("tokens", "latent"):
        own, other = (folder / "decoder" / part / "model.safetensors" for folder in (tmp_path / "run", complete))
        assert own.read_bytes() == other.read_bytes()


def test_files_as_the_scripts_save_them_are_pulled(networks, kept, tmp_path, monkeypatch, capsys):
    """Also with the prefix of parallel training, and never again as pickles."""
    monkeypatch.setenv("BRAINRECON_WEIGHTS", str(tmp_path / "store"))
    monkeypatch.setattr(store, "MANIFEST", kept / "manifest" / "manifest.toml")
    path = save_training(released_tokens(networks["tokens"]), tmp_path / "hand" / "last.pth", parallel=True)
    assert run_command(["weights", "pull", TOKENS, "--from", str(path.parent)]) == 0
    state = load_file(store.path(TOKENS) / "model.safetensors")
    assert state.keys() == released_tokens(networks["tokens"]).keys()
    (store.path(TOKENS) / "model.safetensors").unlink()
    assert "incomplete" in (run_command(["weights", "list", "--for", METHOD]), capsys.readouterr().out)[1]
