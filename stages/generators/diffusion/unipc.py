"""UniPC without waiting for the device."""

import diffusers
import torch


class UniPCMultistepScheduler(diffusers.UniPCMultistepScheduler):
    """diffusers' UniPC (Zhao and others, 2023), whose weights are worked out on the CPU.

    Each update is a weighted sum of the latents and of a few predictions, and the weights follow from the noise schedule
    alone. diffusers works them out on the device: it copies the schedule there number by number and solves an equation, and
    after each of these the processor waits. Here its update is given unit vectors on the CPU, which gives the weights; the
    sum is taken on the device.

    Its configuration is diffusers' own, and so is the name that it is stored under.
    """

    def multistep_uni_p_bh_update(self, model_output, *, sample, order):
        """Predict the latents at the next timestep; see diffusers."""
        if self.solver_p:
            return super().multistep_uni_p_bh_update(model_output, sample=sample, order=order)

        def update(sample):
            return super(UniPCMultistepScheduler, self).multistep_uni_p_bh_update(None, sample=sample, order=order)

        return self._summed(update, [sample], order)

    def multistep_uni_c_bh_update(self, this_model_output, *, last_sample, this_sample, order):
        """Correct the latents of this timestep by what the network predicted there; see diffusers."""

        def update(last_sample, model_output):
            return super(UniPCMultistepScheduler, self).multistep_uni_c_bh_update(
                model_output, last_sample=last_sample, this_sample=last_sample, order=order
            )

        return self._summed(update, [last_sample, this_model_output], order)

    def _summed(self, update, given, order):
        """Return what an update makes of some tensors and of the last predictions, in the type of the first tensor."""
        stored = self.model_outputs
        tensors = [*given, *stored[-order:]]
        units = torch.eye(len(tensors), dtype=torch.float64).split(1)
        self.model_outputs = list(units[len(given) :])
        try:
            weights = update(*units[: len(given)])[0].tolist()
        finally:
            self.model_outputs = stored
        return sum(weight * tensor.float() for weight, tensor in zip(weights, tensors)).to(given[0].dtype)
