"""The protocol of generators: named values to pictures, films or captions, one for each item.

    for position, picture in generator.draw({"clip_image": embeddings, "first_picture": pictures}, items, seed=0):
        ...

A step hands its values over by name and needs to know no more than `takes`, `optional` and `gives`:

- ``values`` maps names of `takes` to one row per item: an array of shape ``(n_items, *takes[name])``, an array of flat rows
  ``(n_items, n_values)`` if every length in ``takes[name]`` is known, or a sequence with one array per item.
- A value that a condition takes away is left out, or is None. In a sequence, one item's row may be None.
- ``items`` has one `Item` per row, or any object with ``stimulus_id`` (str) and ``sample`` (int).
- An output is finite or it is not given. A generator looks once at every batch, when it is done. What has NaN or infinite
  values is drawn again in float32, if the networks compute in less. If that does not help, all others are yielded, and `draw`
  then ends with `NotFinite`, which has the positions and the names of those that are missing. `drawn_in_batches` does so.
- Settings go into `draw` as keyword arguments; what a generator does not know is a TypeError. All generators take `seed`,
  `batch_size` and `progress`. Diffusion takes ``num_inference_steps``, ``guidance_scale``, ``strength`` and ``weights`` too
  (see `stages.generators.diffusion.latent_diffusion.LatentDiffusionGenerator.draw`); each has a default.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.ground.errors import InputError
from stages.ground.not_finite import NotFinite, listed, named
from stages.ground.out_of_memory import is_short_of_memory
from stages.ground.progress import SILENT, Progress
from weights.remark import Remark


@dataclass(frozen=True)
class Item:
    """One output to draw; any object with these attributes will do.

    >>> Item("nsd00042", sample=1)
    Item(stimulus_id='nsd00042', sample=1)

    Attributes
    ----------
    stimulus_id : str
        For example "nsd00042".
    sample : int
        Which of several outputs for this stimulus, from 0.
    """

    stimulus_id: str
    sample: int = 0


class InFloat32(Protocol):
    """A context within which a generator's networks compute in float32.

    Attributes
    ----------
    instead_of : str
        What they compute in otherwise, for example "float16".
    """

    instead_of: str

    def told(self, of: str) -> str:
        """Return the sentence on outputs that are drawn again; `of` are their names, beginning with ", of"."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *error: Any) -> Any: ...


class Generator(Protocol):
    """From named values to outputs of one medium.

    >>> import numpy as np
    >>> class Plain:
    ...     takes, optional = {"colour": (3,)}, frozenset()
    ...     gives, draws_by_lot = "picture", False
    ...     def draw(self, values, items, *, seed=0, batch_size=16, progress=SILENT):
    ...         for position in range(len(items)):
    ...             yield position, np.full((8, 8, 3), values["colour"][position], dtype=np.uint8)
    >>> generator: Generator = Plain()
    >>> pictures = in_order(generator.draw({"colour": np.uint8([[200, 100, 0]])}, [Item("nsd00042")]))
    >>> pictures[0].shape, pictures[0][0, 0].tolist()
    ((8, 8, 3), [200, 100, 0])

    Attributes
    ----------
    takes : mapping of str to tuple
        Shape of one item's row of each value; None stands for any length of that axis.
    optional : frozenset of str
        Names in `takes` that may be absent.
    gives : str
        Name of the medium, for example "picture".
    draws_by_lot : bool
        Whether the output depends on the seed, the stimulus and the sample. If not, all samples of a stimulus are equal.
    """

    takes: Mapping[str, tuple[int | None, ...]]
    optional: frozenset[str]
    gives: str
    draws_by_lot: bool

    def draw(
        self,
        values: Mapping[str, Any],
        items: Sequence[Item],
        *,
        seed: int = 0,
        batch_size: int = 16,
        progress: Progress = SILENT,
        **settings: Any,
    ) -> Iterator[tuple[int, Any]]:
        """Draw one output per item.

        An output depends on its own row, the settings, the seed, the stimulus and the sample. It does not depend on the
        other rows, their order or the batch size: to one grey level in float32. The global random state is not used.

        Yields
        ------
        position : int
            Into `items`; not in order.
        output : as the medium has it
            A picture is a uint8 array of shape (height, width, 3).

        Raises
        ------
        InputError
            The values do not fit `takes`; raised before anything is drawn.
        NotFinite
            Outputs are NaN or infinite, in float32 too; raised after all others have been yielded.
        """
        ...


def in_order(drawn: Iterable[tuple[int, Any]]) -> list:
    """Return the outputs of `Generator.draw` as a list in the order of the items; waits for all of them.

    >>> in_order([(1, "second"), (0, "first")])
    ['first', 'second']
    """
    return [output for _, output in sorted(drawn, key=lambda each: each[0])]


def rows_of(generator: Generator, values: Mapping[str, Any], items: Sequence[Item]) -> dict[str, list]:
    """Return the values of a call of `draw` as rows, once they fit the generator.

    Parameters
    ----------
    generator : Generator
    values : mapping of str to rows
    items : sequence of Item

    Returns
    -------
    rows : dict of str to list
        For each name in `takes` one array per item, of the shape in `takes`, or None if it is absent.

    Raises
    ------
    InputError
        A name is not known, a required value is absent, there are not as many rows as items, or a row has another shape or
        values that are not finite.
    """
    given = {name: value for name, value in values.items() if value is not None}
    listed = ", ".join(given) or "nothing"
    for name in values:
        if name not in generator.takes:
            raise InputError(
                f"{type(generator).__name__} was given {name}, which it does not take; it takes "
                f"{', '.join(generator.takes)}; leave {name} out."
            )
    rows = {}
    for name, shape in generator.takes.items():
        if name not in given and name not in generator.optional:
            raise InputError(
                f"{type(generator).__name__} needs {name} of shape {readable(shape)}, but was given {listed}; give "
                f"{name} too."
            )
        rows[name] = _rows(generator, name, given.get(name), shape, items)
    return rows


def together(rows: Sequence, batch_size: int, group: Callable[[Any], Hashable]) -> Iterator[list[int]]:
    """Yield the positions of rows that share a batch, at most `batch_size`: those of one group, in their order.

    >>> list(together(["noise", "picture", "noise", "noise"], 2, str))
    [[0, 2], [3], [1]]
    """
    groups: dict[Hashable, list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(group(row), []).append(position)
    for positions in groups.values():
        for start in range(0, len(positions), batch_size):
            yield positions[start : start + batch_size]


def drawn_in_batches(
    batches: Iterable[Sequence[int]],
    draw: Callable[[Sequence[int]], Sequence[Any]],
    items: Sequence[Item],
    *,
    in_float32: Callable[[], InFloat32 | None] | None = None,
    progress: Progress = SILENT,
) -> Iterator[tuple[int, Any]]:
    """Yield what is drawn batch by batch, and see to what is not finite.

    >>> batches, items = [[0, 1], [2]], [Item("a"), Item("b"), Item("c")]
    >>> drawn = drawn_in_batches(batches, lambda rows: [None if row == 1 else row for row in rows], items)
    >>> next(drawn), next(drawn)
    ((0, 0), (2, 2))
    >>> next(drawn)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    stages.ground.not_finite.NotFinite: 1 output is missing, of b (sample 0) ...

    Parameters
    ----------
    batches : iterable of sequences of int
        Positions in `items`, as `together` gives them.
    draw : callable
        ``draw(positions)`` gives an output for each position, or None for one that is not finite.
    items : sequence of Item
    in_float32 : callable, optional
        ``in_float32() -> InFloat32 or None``: how to draw again; None if the networks compute in float32 already. Called if
        something is not finite.
    progress : callable
        Called as ``progress("pictures", done, total)`` after each batch.

    Yields
    ------
    position : int
    output

    Raises
    ------
    NotFinite
        In the end, if outputs are not finite.
    """
    done, missing, computed = 0, [], ""
    for positions in batches:
        outputs = dict(zip(positions, draw(positions)))
        spoilt = [position for position in positions if outputs[position] is None]
        if spoilt and in_float32 is not None and (again := in_float32()) is not None:
            warnings.warn(again.told(listed([named(items[position]) for position in spoilt])), Remark, stacklevel=2)
            computed = f"in {again.instead_of} and in float32"
            try:
                with again:
                    # One by one: networks and maps are twice as large now.
                    for position in spoilt:
                        (outputs[position],) = draw([position])
            except Exception as error:
                if not is_short_of_memory(error):
                    raise
                computed = f"in {again.instead_of}, and memory does not suffice for float32"
        done += len(positions)
        progress("pictures", done, len(items))
        missing += [position for position in positions if outputs[position] is None]
        yield from ((position, output) for position, output in outputs.items() if output is not None)
    if missing:
        raise NotFinite(missing, [named(items[position]) for position in missing], computed)


def readable(shape: Sequence[int | None]) -> str:
    """Return a shape for an error.

    >>> readable((4, None, None))
    '(4, any, any)'
    """
    lengths = ", ".join("any" if length is None else str(length) for length in shape)
    return f"({lengths},)" if len(shape) == 1 else f"({lengths})"


def _rows(
    generator: Generator, name: str, value: Any, shape: tuple[int | None, ...], items: Sequence[Item]
) -> list[NDArray | None]:
    if value is None:
        return [None] * len(items)
    if len(value) != len(items):
        raise InputError(
            f"{name} has {len(value)} rows for {len(items)} items; expected one row per item; give values and items in "
            "the same order."
        )
    return [_fitting(generator, name, value[row], shape, items[row]) for row in range(len(items))]


def _fitting(generator: Generator, name: str, row: Any, shape: tuple[int | None, ...], item: Item) -> NDArray | None:
    """Return one item's row in its shape."""
    if row is None:
        if name not in generator.optional:
            raise InputError(
                f"{name} of {item.stimulus_id} is absent, but {type(generator).__name__} needs it; give it."
            )
        return None
    row = np.asarray(row)
    lengths = [length for length in shape if length is not None]
    known = len(lengths) == len(shape)
    if known and row.ndim == 1 and row.size == int(np.prod(lengths)):
        row = row.reshape(lengths)
    fits = row.ndim == len(shape) and all(wanted in (None, length) for wanted, length in zip(shape, row.shape))
    if not fits:
        raise InputError(
            f"{name} of {item.stimulus_id} has shape {row.shape}, but {type(generator).__name__} reads {readable(shape)}; "
            "predict the target that belongs to this checkpoint."
        )
    if row.dtype.kind == "f" and not np.isfinite(row).all():
        raise InputError(
            f"{name} of {item.stimulus_id} has {int((~np.isfinite(row)).sum()):,} values that are not finite; expected "
            f"finite values of shape {readable(shape)}; look at the predictions of {name}."
        )
    return row
