"""What the command line prints of scores that have retrieval and captions."""

import numpy as np

from brainrecon.cli.score_tables import show_scores
from brainrecon.evaluation import Protocol, evaluate

IDS = [f"s{row}" for row in range(8)]


def test_retrieval_and_the_corpus_are_printed(capsys):
    true = np.random.default_rng(0).normal(size=(8, 20))
    content = {
        "name": "words",
        "retrieval": {
            "near": {"target": "clip_image", "direction": "brain_to_picture", "pool": 4, "label": "Found among 4"}
        },
        "captions": {"bleu_1": {"tokenisation": "simple", "label": "BLEU-1"}},
    }
    scores = evaluate(
        None,
        {},
        stimulus_ids=IDS,
        embeddings=({"clip_image": true}, {"clip_image": true}),
        captions=[["a dog"]] * 8,
        predicted_captions={
            "reconstruction": dict.fromkeys(IDS, "a dog"),
            "mean_response": dict.fromkeys(IDS, "a cat"),
        },
        protocol=Protocol(content),
        n_resamples=2000,
    )
    show_scores(scores)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "retrieval stimuli candidates found (%) chance (%)" in lines and "Found among 4 8 4 100.0 ±0.0 25" in lines
    assert "captions of the corpus Reconstruction Mean response" in lines and "BLEU-1 1.000 0.500" in lines
