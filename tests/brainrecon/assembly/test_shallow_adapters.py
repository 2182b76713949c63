"""Settings of a network behind adapters of subjects: what follows from who is there, and what cannot be."""

from types import SimpleNamespace

import pytest

from brainrecon.assembly import shallow_adapters
from brainrecon.assembly.shallow_adapters import ShallowAdapterSettings
from stages.ground.errors import InputError
from stages.networks import guided_latent, sttm
from stages.objectives import within_then_across


def subject(n_stimuli):
    return SimpleNamespace(train=SimpleNamespace(n_stimuli=n_stimuli, n_trials=3 * n_stimuli))


def test_an_epoch_is_one_step_longer_than_whole_batches():
    settings = ShallowAdapterSettings()
    one = settings.settled_with({"subj01": subject(8859)})
    four = settings.settled_with({f"subj0{number}": subject(8859) for number in (1, 2, 5, 7)})
    assert one.steps_per_epoch == four.steps_per_epoch == 554 == 8859 // 16 + 1 == settings.published_steps
    assert (one.recipe().batch_size, four.recipe().batch_size) == (16, 64)
    assert (one.samples_of_each, four.samples_of_each, settings.samples_of_each) == (16, 16, 16)
    assert one.recipe().steps == settings.recipe().steps == 50 * 554
    single = ShallowAdapterSettings(trials="single").settled_with({"subj01": subject(100)})
    assert single.steps_per_epoch == 300 // 16 + 1


def test_nothing_decays_that_has_bias_in_its_name():
    optimiser = ShallowAdapterSettings().recipe().optimiser
    assert (optimiser.undecayed, optimiser.undecayed_names, optimiser.weight_decay) == ("none", (".*bias.*",), 0.01)


def test_of_those_before_a_new_subject_nothing_is_trained_afterwards():
    before = ShallowAdapterSettings(prior_epochs=4, pretraining_epochs=7).for_pretraining()
    assert (before.prior_epochs, before.epochs, before.subjects) == (0, 7, None)


def test_words_are_those_of_the_parts():
    assert shallow_adapters.HEADS == sttm.HEADS and shallow_adapters.SCALES == sttm.SCALES
    assert shallow_adapters.LATENT_READS == guided_latent.READS
    assert shallow_adapters.WEIGHTINGS == within_then_across.WEIGHTINGS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"head": "mlp"}, "head is 'mlp'"),
        ({"attention_scale": "legacy"}, "attention_scale is 'legacy'"),
        ({"loss_weighting": "random"}, "loss_weighting is 'random'"),
        ({"captions": "all"}, "captions is 'all'"),
        ({"hidden_memory": (0.65, 0.6)}, r"hidden_memory is \[0.65, 0.6\]"),
        ({"hidden_memory": (0.5,)}, r"hidden_memory is \[0.5\]"),
        ({"latent_reads": "high"}, "latent_reads is 'high'"),
        ({"latent_weight": 0}, "latent_weight is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"few_samples": 0}, "few_samples is 0"),
        ({"last_temperature": 0}, "last_temperature is 0"),
        ({"prior_epochs": 3, "new_subject": "all layers"}, "prior_epochs is 3 but new_subject 'all layers'"),
        ({"prior_epochs": 3, "prior_weight": 0}, "prior_epochs is 3 but prior_weight 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        ShallowAdapterSettings(**given)
