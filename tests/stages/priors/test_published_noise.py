"""Tables of a published noise process: those of ours are taken away, any other is refused."""

import pytest
import torch
from released_mindeye import noise_tables

from stages.ground.errors import InputError
from stages.priors.noise_process import NoiseProcess
from stages.priors.published_noise import PREFIX, tables_of, without_noise_tables

PROCESS = NoiseProcess(100)


def published(**changed):
    return noise_tables() | {"net.learned_query": torch.ones(2)} | {f"{PREFIX}{name}": v for name, v in changed.items()}


def test_published_tables_are_those_of_our_process():
    assert noise_tables().keys() == {PREFIX + name for name in tables_of(PROCESS)}
    assert len(noise_tables()) == 13
    left = without_noise_tables(published(), PROCESS)
    assert list(left) == ["net.learned_query"]
    # A tensor that only begins alike is none of them.
    more = {"noise_scheduler2.betas": torch.zeros(3)}
    assert set(without_noise_tables(published() | more, PROCESS)) == {"net.learned_query", *more}


@pytest.mark.parametrize("name", sorted(tables_of(PROCESS)))
def test_every_table_is_looked_at(name):
    table = noise_tables()[PREFIX + name].clone()
    table[57] += 3e-5 * max(1, abs(float(table[57])))
    with pytest.raises(InputError, match=f"{PREFIX}{name} is .* at step 57, but .* was expected") as caught:
        without_noise_tables(published(**{name: table}), PROCESS)
    assert "\n" not in str(caught.value)
    table[57] = float("nan")
    with pytest.raises(InputError, match="is nan at step 57"):
        without_noise_tables(published(**{name: table}), PROCESS)


def test_other_processes_are_refused():
    with pytest.raises(InputError, match="a noise process of 1000 steps, but is sampled with 100"):
        without_noise_tables(noise_tables(1000), PROCESS)
    with pytest.raises(InputError, match="betas is .* at step"):
        without_noise_tables(published(betas=torch.linspace(1e-4, 2e-2, 100)), PROCESS)
    with pytest.raises(InputError, match="of 1 steps"):
        without_noise_tables(published(betas=torch.tensor(0.5)), PROCESS)


def test_tables_that_are_missing_or_unknown_are_refused():
    tables = published()
    del tables[f"{PREFIX}posterior_variance"]
    with pytest.raises(InputError, match="holds no table noise_scheduler.posterior_variance of its noise process"):
        without_noise_tables(tables, PROCESS)
    with pytest.raises(InputError, match="holds an unknown table noise_scheduler.snr of its noise process"):
        without_noise_tables(published(snr=torch.ones(100)), PROCESS)
    with pytest.raises(InputError, match="holds no table"):
        without_noise_tables({"net.learned_query": torch.ones(2)}, PROCESS)
