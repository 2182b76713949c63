"""Networks of a pipeline in float32 for a while, to draw what is not finite in less."""

import torch

from stages.ground.out_of_memory import give_back


class InFloat32:
    """A context within which a pipeline computes in float32; afterwards every tensor is as it was, to the bit.

    >>> again = InFloat32.of(pipeline)  # doctest: +SKIP
    >>> with again:  # doctest: +SKIP
    ...     pictures = draw()

    Parameters
    ----------
    tensors : list of torch.Tensor
        Parameters and buffers that are not in float32.
    outputs : str
        What is drawn, as a sentence begins with it.

    Attributes
    ----------
    instead_of : str
        Precision that most of them have otherwise.
    more : int
        Bytes that they take more in float32.
    """

    def __init__(self, tensors, outputs="Pictures"):
        self._tensors, self._before, self._outputs = tensors, [], outputs
        dtypes = [tensor.dtype for tensor in tensors]
        self.instead_of = str(max(dtypes, key=dtypes.count)).removeprefix("torch.")
        self.more = sum(tensor.numel() * (4 - tensor.element_size()) for tensor in tensors)

    @classmethod
    def of(cls, pipeline):
        """Make it for a pipeline; None if that computes in float32 already, or has its weights elsewhere (sequential offload)."""
        return cls.of_networks([part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)])

    @classmethod
    def of_networks(cls, parts, outputs="Pictures"):
        """Make it for some networks, as `of` does for those of a pipeline."""
        tensors = [tensor for part in parts for tensor in (*part.parameters(), *part.buffers())]
        less = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.element_size() < 4]
        return cls(less, outputs) if less and not any(tensor.is_meta for tensor in tensors) else None

    def told(self, of):
        """Return the sentence on outputs that are drawn again; `of` are their names, beginning with ", of"."""
        return (
            f"{self._outputs} are not finite in {self.instead_of}{of}: they are drawn again in float32, for which the networks "
            f"take {self.more / 1e9:.1f} GB more meanwhile."
        )

    def __enter__(self):
        try:
            for tensor in self._tensors:
                self._before.append((tensor, tensor.dtype))
                tensor.data = tensor.data.float()
        except BaseException:
            self._return()
            raise

    def __exit__(self, *error):
        self._return()

    def _return(self):
        while self._before:
            tensor, dtype = self._before.pop()
            tensor.data = tensor.data.to(dtype)
        give_back()
