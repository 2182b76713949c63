"""Protocols: what they hold, and when two of them are the same."""

import copy
import re

import pytest
import tomli_w

from brainrecon.evaluation.protocols.protocol import Protocol, available, load_protocol
from stages.ground.errors import InputError


@pytest.fixture
def content():
    return copy.deepcopy(load_protocol("brainrecon-1").content)


def test_embedded_protocol_says_what_it_does():
    protocol = load_protocol("brainrecon-1")
    assert "brainrecon-1" in available()
    assert (protocol.resize.size, protocol.resize.interpolation, protocol.resize.antialias) == (
        64,
        "bilinear",
        True,
    )
    assert {name: spec.checkpoint for name, spec in protocol.networks.items()} == {
        "evaluation": "tiny-evaluation",
        "clip": "tiny-clip",
    }
    assert list(protocol.metrics) == [
        "pixcorr",
        "ssim",
        "identification_pixels",
        "identification_pixels_within_category",
        "identification_evaluation",
        "identification_evaluation_within_category",
        "identification_clip",
        "category_agreement",
        "brain_correlation",
    ]
    assert protocol.metrics["identification_clip"].metric.chance == 0.5
    assert load_protocol(protocol) is protocol


def test_digest_follows_what_changes_scores(content):
    digest = Protocol(content).sha256
    assert len(digest) == 64 and digest == load_protocol().sha256
    content["resize"]["size"] = 128
    assert Protocol(content).sha256 != digest


def test_digest_ignores_order_and_prose(content):
    digest = Protocol(content).sha256
    shuffled = dict(reversed(content.items()))
    shuffled["description"] = "Other words."
    shuffled["metrics"][0]["label"] = "Pixel correlation"
    assert Protocol(shuffled).sha256 == digest


def test_reads_a_file_of_the_user(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[resize]\nsize = 32\ninterpolation = "nearest"\nantialias = false\n'
        '[[metrics]]\nname = "pixcorr"\nmeasure = "pixel_correlation"\n'
    )
    protocol = load_protocol(path)
    assert protocol.name == "mine" and protocol.headline == protocol.low_level == "pixcorr"


def test_an_own_protocol_does_not_take_the_name_of_another(content, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(content))
    assert load_protocol(path) == load_protocol(content["name"])
    content["resize"]["size"] = 32
    path.write_text(tomli_w.dumps(content))
    with pytest.raises(InputError, match="Give it another name"):
        load_protocol(path)


@pytest.mark.parametrize("name", ["brainrecon-99", "../protocol", "", "/nowhere/else.toml"])
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match="brainrecon-1"):
        load_protocol(name)


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda c: c.pop("resize"), "resize"),
        (lambda c: c["resize"].update(interpolation="magic"), "magic.*bilinear"),
        (lambda c: c["resize"].update(colour="grey"), "colour"),
        (lambda c: c["metrics"][0].update(measure="beauty"), "beauty.*pixel_correlation"),
        (lambda c: c["metrics"][0].update(features="clip"), "clip.*pixels"),
        (lambda c: c["metrics"][3].update(features="nothing"), "nothing.*evaluation"),
        (lambda c: c["metrics"][3].update(similarity="kinship"), "kinship.*pearson.*cosine"),
        (lambda c: next(m for m in c["metrics"] if "head" in m).pop("head"), "head"),
        (lambda c: c["metrics"].append(c["metrics"][0]), "each name once"),
        (lambda c: c.update(headline="nothing"), "nothing.*pixcorr"),
        (lambda c: c.update(colour="grey"), "key in the protocol: 'colour'; expected one of 'name'"),
        (lambda c: c["networks"]["clip"].update(pool="mean"), "network 'clip': 'pool'; expected one of 'kind'"),
        (lambda c: c["metrics"][1].update(sigma=2), "metric 'ssim': 'sigma'; expected one of 'name'"),
        (lambda c: c["networks"].update(clip="tiny-clip"), "network 'clip' is no table"),
        (lambda c: c.update(networks=["clip"]), "networks"),
        (lambda c: c.update(metrics=["pixcorr"]), "metrics"),
        (lambda c: c.update(name=""), "named ''; expected a text without slashes"),
        (lambda c: c.update(name="../other"), "named '../other'"),
        (lambda c: c.update(name="a\\b"), "without slashes"),
        (lambda c: c.update(name=3), "named 3"),
        (lambda c: c["metrics"][0].update(n_way=5), "pixcorr gives n_way but pixel_correlation takes none"),
        (lambda c: c["metrics"][2].update(n_way=5), "identification_pixels gives n_way"),
        (
            lambda c: c["metrics"][2].update(resize={"size": 8, "interpolation": "bilinear", "antialias": True}),
            "at 2 sizes",
        ),
        (lambda c: c["metrics"][-1].update(features="pixels"), "features.*'pixels'.*'evaluation'"),
        (lambda c: c["embeddings"][0].update(measure="guess"), "guess.*image_retrieval"),
        (lambda c: c["embeddings"][0].update(name="pixcorr"), "each name once"),
        (lambda c: c.update(test_set={"dataset": "nsd"}), "n_stimuli"),
        (lambda c: c["networks"]["clip"].update(mean=["a"]), "mean|could not convert"),
        (lambda c: c["networks"]["clip"].update(kind="magic"), "magic.*evaluation_network"),
        (lambda c: c["metrics"][0].update(within="category"), "within, which pixel_correlation does not read"),
        (lambda c: c["metrics"][0].update(similarity="cosine"), "similarity, which pixel_correlation does not read"),
        (lambda c: c["metrics"][0].update(head="category"), "head, which"),
        (lambda c: c["metrics"][4].update(resize=c["resize"]), "resize, which"),
        (lambda c: c["metrics"][2].update(measure="n_way_identification", n_way=2, top_k=5), "fewer best ones"),
        (lambda c: c["metrics"][2].update(measure="n_way_identification", n_way="abc"), "n_way.*whole number"),
        (lambda c: c["metrics"][1].update(measure="binary_f1", threshold="x"), "threshold.*'x'"),
        (lambda c: c.update(name=".hidden"), "named '.hidden'"),
    ],
)
def test_broken_protocols_say_what_is_wrong(content, change, words):
    change(content)
    with pytest.raises(InputError, match=words):
        Protocol(content)


def test_what_is_wrong_in_a_file_is_told_with_its_path(content, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(tomli_w.dumps(content).replace("pixel_correlation", "x", 1))
    with pytest.raises(InputError, match=re.escape(f"{own} cannot be used: There is no metric 'x'")):
        load_protocol(own)


def test_text_that_is_no_toml(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = ")
    with pytest.raises(InputError, match="cannot be read as TOML"):
        load_protocol(path)


RETRIEVAL = {"target": "clip_image", "direction": "brain_to_picture"}


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda c: c.update(retrieval={"one": RETRIEVAL | {"pools": 3}}),
            "retrieval 'one': 'pools'; expected one of 'target'",
        ),
        (lambda c: c.update(retrieval={"one": "clip_image"}), "retrieval 'one' is no table"),
        (lambda c: c.update(retrieval={"pixcorr": RETRIEVAL}), "each name once"),
        (lambda c: c.update(retrieval={"label": RETRIEVAL}), "'label', a word that is kept for text"),
        (lambda c: c.update(captions={"bleu_4": {"n": 4}}), "captions 'bleu_4': 'n'; expected one of 'measure'"),
        (lambda c: c.update(captions={"one": {"measure": "pixel_correlation"}}), "pixel_correlation.*'bleu_1'"),
        (lambda c: c.update(captions={"one": {"measure": "beauty"}}), "no metric 'beauty'.*install the package"),
        (lambda c: c.update(captions={"bleu_4": {"references": "best"}}), "references.*'best'.*'all', 'first'"),
        (lambda c: c.update(captions={"bleu_4": {"tokenisation": "moses"}}), "tokenisation.*'moses'.*'ptb', 'simple'"),
        (lambda c: c["metrics"].append({"name": "cider", "measure": "cider"}), r"Write it under \[captions.cider\]"),
        (lambda c: c.update(metrics=[], captions={}), "expected at least one of pictures or captions"),
    ],
)
def test_broken_tables_of_tasks_say_what_is_wrong(content, change, words):
    change(content)
    with pytest.raises(InputError, match=words):
        Protocol(content)


def test_digest_follows_the_tables_of_tasks(content):
    digest = Protocol(content).sha256
    with_pools = Protocol(content | {"retrieval": {"one": RETRIEVAL}}).sha256
    assert len({digest, with_pools, Protocol(content | {"retrieval": {"one": RETRIEVAL | {"seed": 1}}}).sha256}) == 3
    assert Protocol(content | {"captions": {"bleu_4": {}}}).sha256 != digest
    assert Protocol(content | {"retrieval": {"one": RETRIEVAL | {"label": "One"}}}).sha256 == with_pools


def test_a_protocol_of_captions_alone_needs_no_resize():
    protocol = Protocol(
        {"name": "words", "captions": {"bleu_4": {}, "first": {"measure": "rouge_l", "references": "first"}}}
    )
    assert protocol.metrics == {} and list(protocol.columns) == ["bleu_4", "first"] and protocol.headline == "bleu_4"
    assert (protocol.captions["first"].measure, protocol.captions["first"].tokenisation) == ("rouge_l", "ptb")


def test_a_file_based_on_another_protocol_holds_its_tables(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\nbased_on = "brainrecon-1"\nembeddings = []\n'
        '[retrieval.one]\ntarget = "clip_image"\ndirection = "brain_to_picture"\n'
        '[[metrics]]\nname = "ssim"\nmeasure = "structural_similarity"\nlabel = "Mine"\n'
        '[[metrics]]\nname = "pixels"\nmeasure = "n_way_identification"\nn_way = 5\n'
    )
    base, own = load_protocol("brainrecon-1"), load_protocol(path)
    assert list(own.metrics) == [*base.metrics, "pixels"] and own.metrics["ssim"].label == "Mine"
    assert own.networks == base.networks and own.embeddings == {} and list(own.retrieval) == ["one"]
    assert own.headline == base.headline and own.based_on == "brainrecon-1"
    # What it is based on is text: a file that says everything itself is the same protocol.
    alone = {key: value for key, value in own.content.items() if key != "based_on"}
    assert Protocol(alone).sha256 == own.sha256
    path.write_text('name = "mine"\nbased_on = "yours"\n')
    with pytest.raises(InputError, match="based_on.*'yours'.*'brainrecon-1'"):
        load_protocol(path)


def test_targets_are_those_of_embeddings_and_of_retrieval(content):
    content["retrieval"] = {"one": RETRIEVAL | {"target": "sd_latent"}}
    assert Protocol(content).targets == {"clip_image", "vdvae", "sd_latent"}
    assert load_protocol("mindeye-2023-pools").targets == {"clip_image"}
