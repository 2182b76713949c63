"""Tokens made to look like ones predicted from brain activity, so that predicted ones are no strangers later.

A ridge regression recovers an embedding's principal components the better the more variance they have: what many
pictures share survives, fine detail drowns. Pulled and disturbed alike along all components, tokens would keep detail
that no decoder gives, and a generator would learn to lean on it.
"""

import torch

COMPONENTS = 512
DISTURBED_ROWS = 0.75
NOISE = (3e-3, 0.7)  # variances, relative to that of the first component
BEST_RELIABILITY = (0.6, 1.0)
LARGEST_FLOOR = 0.3  # of the variance that a prediction has where it knows nothing


class DecodingErrors:
    """Disturbs tokens along the principal components of a sample of them.

    A component of variance λ is recovered with the reliability ρ = b·λ / (λ + n): the noise n is drawn per row,
    log-uniform in ``NOISE``, and b uniform in ``BEST_RELIABILITY``. Its new value is a sum of the true one and of
    noise, correlated by √ρ with the true one, and has the variance (ρ + f)·λ, f uniform up to ``LARGEST_FLOOR``.
    Then every value gets back its spread over pictures, as `RidgeDecoder` does with its predictions.

    Parameters
    ----------
    tokens : tensor of shape (n_pictures, n_tokens, width), float32
        Sample from which mean, spread and components are taken.
    """

    def __init__(self, tokens):
        self.mean, self.spread = tokens.mean(dim=0), tokens.std(dim=0)
        deviations = (tokens - self.mean).flatten(1)
        generator_state = torch.get_rng_state()
        torch.manual_seed(0)  # of the random projections that `pca_lowrank` starts from
        _, scales, self.components = torch.pca_lowrank(deviations, min(COMPONENTS, *deviations.shape), center=False)
        torch.set_rng_state(generator_state)
        self.variances = scales.square() / (len(tokens) - 1)

    def __call__(self, tokens, generator):
        """Disturb ``DISTURBED_ROWS`` of the rows: tokens of shape (n, n_tokens, width), float32.

        Draws come from `generator`, on the CPU.
        """
        n, device = len(tokens), tokens.device
        mean, components, variances = (
            each.to(device) for each in (self.mean, self.components, self.variances / self.variances[0])
        )
        disturbed, noise, best, floor = torch.rand(4, n, 1, generator=generator).to(device)
        noise = NOISE[0] * (NOISE[1] / NOISE[0]) ** noise
        best = BEST_RELIABILITY[0] + (BEST_RELIABILITY[1] - BEST_RELIABILITY[0]) * best
        reliability = best * variances / (variances + noise)
        gain = (reliability + LARGEST_FLOOR * floor).sqrt()

        scales = self.variances.to(device).sqrt()
        true = ((tokens - mean).flatten(1) @ components) / scales
        other = torch.randn(true.shape, generator=generator).to(device)
        recovered = gain * scales * (reliability.sqrt() * true + (1 - reliability).sqrt() * other)
        spread = ((gain * scales).square() @ components.square().T).sqrt().clamp(min=1e-8)
        predicted = recovered @ components.T / spread * self.spread.to(device).flatten()
        predicted = mean + predicted.unflatten(1, mean.shape)
        return torch.where((disturbed < DISTURBED_ROWS)[:, :, None], predicted, tokens)
