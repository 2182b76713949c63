"""One small cohort for all tests that only read."""

import pytest

from brainrecon.simulation.cohort import simulate

SMALL = {"subjects": 2, "sessions": 2, "trials_per_session": 108, "shared": 24, "voxels": 200, "seed": 3}


@pytest.fixture(scope="session")
def small_options():
    return dict(SMALL)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Report of two subjects, two sessions of 108 trials, 24 shared and 48 own stimuli, both betas formats."""
    return simulate(tmp_path_factory.mktemp("cohort") / "nsd", **SMALL, betas_format="both")
