"""The matching as a whole, on simulated responses: categories of new responses are found though no pair was ever seen."""

import numpy as np
import pytest
import torch

from stages.networks.graph_matching import GraphMatching
from stages.objectives.contrastive import cosines
from stages.objectives.optimal_transport import CategoryMatching, matching_accuracy
from stages.training.batches import VirtualTrials

N_CATEGORIES, N_TRIALS, N_REGIONS, N_VOXELS, N_FEATURES = 8, 10, 3, 12, 16


@pytest.fixture(scope="module")
def accuracies():
    """Of 32 new responses, before training and after it: through the graph, and encoded by themselves."""
    random = np.random.default_rng(0)
    responses_of = random.standard_normal((N_CATEGORIES, N_REGIONS, N_VOXELS))
    features_of = random.standard_normal((N_CATEGORIES, N_FEATURES))

    def around(means, spread):
        return torch.from_numpy((means + spread * random.standard_normal(means.shape)).astype(np.float32))

    categories, new = np.repeat(np.arange(N_CATEGORIES), N_TRIALS), np.repeat(np.arange(N_CATEGORIES), 4)
    trials, new_trials, new_features = (
        around(responses_of[categories], 0.7),
        around(responses_of[new], 0.7),
        around(features_of[new], 0.3),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = GraphMatching(N_VOXELS, N_REGIONS, N_FEATURES, N_FEATURES, 2, 2, hidden=16, graph_heads=2, n_rounds=1)

    def judged():
        network.eval()
        with torch.no_grad():
            found = network(new_trials, new_features)[0], network.encode(new_trials)[:, 0]
        network.train()
        labels = torch.from_numpy(new)
        return [matching_accuracy(cosines(one, new_features), labels, labels).item() for one in found]

    before, objective = judged(), CategoryMatching("brain", "picture")
    virtual = VirtualTrials(len(categories), 16, 0, categories)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for step in range(150):
        rows, weights = virtual(step)
        mixed = torch.einsum("nt,ntrv->nrv", torch.from_numpy(weights), trials[rows])
        # The picture beside a response is of any category.
        shown = random.integers(0, N_CATEGORIES, 16)
        features = around(features_of[shown], 0.3)
        brain, picture = network(mixed, features)
        targets = {"picture": features, "brain category": torch.from_numpy(categories[rows[:, 0]])}
        targets["picture category"] = torch.from_numpy(shown)
        loss, _ = objective({"brain": brain, "picture": picture}, targets, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return before, judged()


def test_categories_of_new_responses_are_found(accuracies):
    before, after = accuracies
    # By chance 1 of 8.
    assert max(before) < 0.3
    assert after[0] > 0.6 and after[1] > 0.3
