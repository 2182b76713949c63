"""Settings of a search: what makes no sense is refused, and the published forms are what was published."""

import pytest

from stages.ground.errors import InputError
from stages.inverters.picture_search_presets import PRESETS
from stages.inverters.picture_search_settings import PictureSearchSettings


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "search.steps is 0"),
        ({"learning_rate": 0.0}, "search.learning_rate is 0"),
        ({"momentum": 1.0}, "search.momentum is 1"),
        ({"start": "grey"}, "search.start is 'grey'"),
        ({"scaling": "std"}, "search.scaling is 'std'"),
        ({"clip": 100.0}, "search.clip is 100"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PictureSearchSettings(**options)


PIXELS = {"varied": "pixels", "bounds": "none"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"blur": 1.0}, "search.blur is 1.0, search.varied 'latent'"),
        ({"jitter": 4}, "search.jitter is 4"),
        (PIXELS | {"jitter": 4, "optimiser": "L-BFGS-B"}, "search.optimiser 'L-BFGS-B'; expected 0"),
        ({"varied": "pixels"}, "search.bounds is 'activation range' and search.varied 'pixels'"),
        (PIXELS | {"start": "decoded"}, "search.start is 'decoded' and search.varied 'pixels'"),
        ({"bounds": "greys"}, "search.bounds is 'greys' and search.varied 'latent'"),
        ({"start": "greys"}, "search.start is 'greys' and search.varied 'latent'"),
        ({"optimiser": "Adam"}, "search.optimiser is 'Adam'"),
        ({"distance": "cosine"}, "search.distance is 'cosine'"),
        ({"at_a_time": 0}, "search.at_a_time is 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PictureSearchSettings(**options)


def test_rates_fall_in_a_straight_line():
    """By a share of the way in each of n steps, so that the last value itself is not reached."""
    settings = PictureSearchSettings(**PIXELS, steps=4, decay=0.2, last_decay=0.0, blur=2.0, last_blur=0.5)
    assert [settings.share(step) for step in range(4)] == pytest.approx([0.2, 0.15, 0.1, 0.05])
    assert [settings.sigma(step) for step in range(4)] == pytest.approx([2.0, 1.625, 1.25, 0.875])
    assert PictureSearchSettings().share(150) == 0.01


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("dir-generator", {"steps": 200, "start": "zeros", "scaling": "spread", "bounds": "activation range"}),
        ("cookbook", {"steps": 1000, "start": "shared noise", "scaling": "feature_std_train_mean_center"}),
        ("dir-pixels", {"optimiser": "L-BFGS-B", "steps": 200, "bounds": "greys", "start": "zeros"}),
        ("icnn-generator-lbfgs", {"optimiser": "L-BFGS-B", "steps": 500, "bounds": "highest", "highest": 100.0}),
        ("icnn-pixels", {"decay": 0.2, "last_decay": 1e-10, "blur": 2.0, "last_blur": 0.5, "start": "greys"}),
        ("bdpy-pixels", {"decay": 0.2, "last_decay": 1e-10, "blur": 0.0, "jittered": "picture"}),
        ("spurious-adamw", {"learning_rate": 0.1, "weight_decay": 0.01, "steps": 800, "start_spread": 0.01}),
        ("direct", {"optimiser": "none", "start": "decoded"}),
    ],
)
def test_published_forms(preset, expected):
    settings = PRESETS[preset]
    assert {name: getattr(settings, name) for name in expected} == expected
    generator = {
        "learning_rate": 2.0,
        "momentum": 0.9,
        "decay": 0.01,
        "last_decay": None,
        "found": "before the last step",
    }
    if preset in ("dir-generator", "cookbook", "one-noise"):
        assert {name: getattr(settings, name) for name in generator} == generator
