"""Pictures of a few cells from local decoders at several sizes (Miyawaki et al. 2008), as a scikit-learn estimator.

A picture is taken apart into small rectangles (`stages.decoders.local.image_elements`), the contrast of each is decoded from
voxels of its own (`stages.decoders.local.local_models`), and the decoded contrasts are put together into a picture
(`stages.decoders.local.element_combination`). Any picture can come out, also of a kind that was never shown in training.
"""

from __future__ import annotations

import math

import numpy as np
from joblib import effective_n_jobs
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted, validate_data

from stages.decoders import decoder_files
from stages.decoders.decoder_files import plain, shapes_of
from stages.decoders.local.element_combination import element_weights, held_out_folds, size_weights
from stages.decoders.local.element_voxels import SELECTIONS
from stages.decoders.local.image_elements import ImageElements
from stages.decoders.local.local_models import (
    ALPHAS,
    MODELS,
    LocalModels,
    fit_local_models,
    seconds_of_a_classifier,
)
from stages.decoders.solved import SolvedDecoder
from stages.ground.checks import Number, Numbers, OneOf, check, check_all
from stages.ground.errors import InputError
from stages.ground.progress import SILENT

WEIGHTS = ("equal", "sgd", "nnls")
RULES = {
    "model": OneOf(*MODELS),
    "selection": OneOf(*SELECTIONS),
    "weights": OneOf(*WEIGHTS),
    "n_voxels": Number(1, whole=True, example=500),
    "n_nonzero": Number(1, whole=True, example=10),
    "n_levels": Number(2, whole=True, example=6),
    "n_folds": Number(2, whole=True, example=5),
    "random_state": Number(0, whole=True, optional=True),
}
ALPHAS_RULE = Numbers(Number(0, above=True), example=(10, 100, 1000), alone=False)
LOCAL_MODELS = {
    "voxel_mean_": "voxel_mean",
    "voxel_scale_": "voxel_scale",
    "coef_": "coef",
    "intercept_": "intercept",
    "coef_element_": "row_element",
    "coef_level_": "row_level",
    "selected_": "selected",
    "alpha_": "alpha",
}
"""Fitted attribute of the estimator -> field of `LocalModels`."""


class MultiscaleDecoder(SolvedDecoder):
    """Reconstruct pictures from voxels through local image elements.

    >>> generator = np.random.default_rng(0)
    >>> pictures = generator.integers(0, 2, (60, 4, 4)).astype(float)
    >>> patterns = pictures.reshape(60, 16) + 0.1 * generator.standard_normal((60, 16))
    >>> decoder = MultiscaleDecoder(model="ridge", weights="equal").fit(patterns[:50], pictures[:50])
    >>> decoder.predict(patterns[50:]).shape
    (10, 4, 4)

    Voxels are standardised by their mean and standard deviation (without a degree of freedom taken off) in training.
    Everything is worked out in float64.

    Parameters
    ----------
    sizes : int or list of (int, int)
        Heights and widths of the elements, in cells. A scale s stands for (1, 1), (1, s), (s, 1) and (s, s); on
        10 x 10 cells, 2 makes 361 elements. See `stages.decoders.local.image_elements.element_sizes`.
    model : {"omp", "linear", "bayesian_ridge", "ridge", "sparse_logistic", "univariate"}
        From voxels to the contrast of an element.

        - "omp": orthogonal matching pursuit, `n_nonzero` voxels with a weight.
        - "linear": ordinary least squares, of minimum norm where voxels outnumber samples.
        - "bayesian_ridge": the penalty of the highest evidence, as scikit-learn's BayesianRidge.
        - "ridge": the penalty among `alphas` with the least exact leave-one-out error.
        - "sparse_logistic": the most probable of some levels of contrast under sparse multinomial logistic regression,
          as published; choose about 100 voxels, since the time grows with their third power.
        - "univariate": linear regression on the one voxel with the highest score.
    selection : {"anova", "correlation", "none"}
        Which voxels an element is decoded from: those whose responses differ most between its contrasts (scikit-learn's
        f_classif), those that correlate most with them (f_regression), or all. "anova" goes over to correlation for
        elements with more different contrasts than a quarter of the samples. "univariate" needs a score: with "none" it
        takes the correlation.
    n_voxels : int
        How many; all, if there are fewer.
    n_nonzero : int
        Voxels of "omp"; all, if there are fewer.
    alphas : sequence of float
        Penalties of "ridge", for standardised voxels.
    n_levels : int
        Classes of "sparse_logistic", per element. Elements with no more contrasts than that keep theirs: those of
        binary pictures have one more than cells, so 6 levels keep elements of up to 5 cells as they are. Others
        are rounded to so many equal steps between their lowest and their highest contrast.
    weights : {"equal", "sgd", "nnls"}
        How elements make a picture.

        - "equal": every size gives a picture, in which a pixel is the mean of the elements that cover it; the result is
          the mean of these pictures.
        - "sgd": their weighted sum, the weights learned by stochastic gradient descent.
        - "nnls": every element adds its contrast to its pixels, times a weight that is not negative, as published.

        Learned weights are those of least squares on the pixels of predictions for samples that were held out, voxels
        chosen without them.
    n_folds : int
        Parts of which one at a time is held out. Samples with equal pictures, and samples of one group, are in one part.
    grid : (int, int), optional
        Rows and columns of the pictures. By default those of pictures of shape (n_samples, n_rows, n_columns); of flat
        pictures, a square where their length makes one, and otherwise one row.
    n_jobs : int, optional
        Threads over elements, if each has voxels of its own; processes for "sparse_logistic", if it takes longer than seconds.
        They change nothing but the time. -1: all cores.
    random_state : int, optional
        Of "sgd".

    Attributes
    ----------
    elements_ : stages.decoders.local.image_elements.ImageElements
        ``elements_.places`` has the height, width, row and column of each element.
    coef_ : array of shape (n_elements, n_voxels), float64
        Contrast per standard deviation of a voxel. For "sparse_logistic" of shape (n_classes of all elements, n_voxels),
        the activation of each class.
    intercept_ : array of shape (n_elements,) or (n_classes of all elements,), float64
    coef_element_ : array, int
        The element of each row of `coef_`.
    coef_level_ : array, float64
        The contrast that each row of `coef_` stands for; NaN where it gives a contrast itself.
    selected_ : array of shape (n_elements, n_selected), int, or None
        Voxels of each element, ascending; -1 for elements that were constant in training. None: all voxels.
    alpha_ : array of shape (n_elements,), float64
        Penalties of "ridge" and "bayesian_ridge"; NaN elsewhere.
    voxel_mean_, voxel_scale_ : array of shape (n_voxels,), float64
    size_weights_ : array of shape (n_sizes,), float64
        The weight of each size; for "nnls" the mean over its elements.
    element_weights_ : array of shape (n_elements,), float64
        The weight of each element; that of its size unless "nnls".
    """

    _dtypes = np.float64

    def __init__(
        self,
        sizes=2,
        model="omp",
        selection="anova",
        n_voxels=500,
        n_nonzero=10,
        alphas=ALPHAS,
        n_levels=6,
        weights="equal",
        n_folds=5,
        grid=None,
        n_jobs=None,
        random_state=0,
    ):
        self.sizes = sizes
        self.model = model
        self.selection = selection
        self.n_voxels = n_voxels
        self.n_nonzero = n_nonzero
        self.alphas = alphas
        self.n_levels = n_levels
        self.weights = weights
        self.n_folds = n_folds
        self.grid = grid
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, Y, groups=None, progress=SILENT):
        """Fit the decoders of all elements, and the weights that put them together.

        Parameters
        ----------
        X : array of shape (n_samples, n_voxels)
            Patterns, one row per picture shown.
        Y : array of shape (n_samples, n_rows, n_columns), (n_samples, n_pixels) or (n_samples,)
            Pictures, binary or grey, in any unit.
        groups : array of shape (n_samples,), optional
            Samples with equal labels, such as that of a run, are held out together. For learned weights only.
        progress : callable, optional
            Called with (label, done, total): how many times all local decoders have been fitted, once for each part that is
            held out and once on everything.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Parameters that are not among their choices, elements larger than the pictures, another number of pixels
            than `grid` has, or too few samples to hold out.
        """
        self.check_parameters()
        shape = np.asarray(Y).shape
        if len(shape) == 3:
            Y = np.asarray(Y).reshape(shape[0], -1)
        X, Y = validate_data(self, X, Y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2)
        pictures = np.asarray(Y, dtype=np.float64).reshape(len(Y), -1)
        self._picture_shape = tuple(shape[1:]) if len(shape) == 3 else Y.shape[1:]
        self.elements_ = ImageElements(self.sizes, self._grid(pictures.shape[1]))
        contrasts = self.elements_.contrasts(pictures)
        n_fits = self.n_fits

        def fitted(done):
            progress("local decoders", done, n_fits)

        fitted(0)
        self._learn_weights(X, contrasts, pictures, groups, fitted)
        self._keep(self._fitted(X, contrasts))
        fitted(n_fits)
        return self

    @property
    def n_fits(self):
        """How many times all local decoders are fitted: once, and once more for each part that is held out for the weights."""
        return 1 if self.weights == "equal" else self.n_folds + 1

    def seconds_to_fit(self, n_samples, n_voxels, grid):
        """About how long `fit` takes on the cores of `n_jobs`; 0 for models that take seconds.

        Parameters
        ----------
        n_samples, n_voxels : int
            Of the patterns.
        grid : (int, int)
            Rows and columns of the pictures.

        Returns
        -------
        seconds : float
        """
        if self.model != "sparse_logistic":
            return 0.0
        used = n_voxels if self.selection == "none" else min(self.n_voxels, n_voxels)
        n_elements = len(ImageElements(self.sizes, grid).places)
        one = seconds_of_a_classifier(n_samples, used)
        return self.n_fits * n_elements * one / effective_n_jobs(self.n_jobs)

    def predict_elements(self, X):
        """Contrast of every element.

        Parameters
        ----------
        X : array of shape (n_samples, n_voxels)
            In the unit of the training patterns.

        Returns
        -------
        array of shape (n_samples, n_elements), float64
            In the unit of the pictures. Contrasts of "sparse_logistic" are among those of training; others may leave
            their range.
        """
        check_is_fitted(self, "coef_")
        return self._contrasts(self.checked(X))

    def _contrasts(self, X):
        return LocalModels(**{field: getattr(self, name) for name, field in LOCAL_MODELS.items()}).predict(X)

    def predict(self, X):
        """Reconstruct pictures.

        Parameters
        ----------
        X : array of shape (n_samples, n_voxels)
            In the unit of the training patterns.

        Returns
        -------
        array of the layout of the training pictures, float64
            Not clipped: values may lie outside of the range of the training pictures, and lie within it for sure only
            for "sparse_logistic" with "equal" weights.
        """
        pictures = self._side_by_side(X)
        return pictures.reshape(len(pictures), *self._picture_shape)

    @property
    def gives(self):
        """The picture, one value per pixel."""
        check_is_fitted(self, "coef_")
        return {"picture": self._picture_shape}

    def _blocks(self, X, start):
        """Predict the picture, the only block."""
        if start > 0:
            return
        contrasts = self._contrasts(X)
        if self.weights == "nnls":
            pictures = self.elements_.added(contrasts * self.element_weights_)
        else:
            pictures = np.einsum("s,nsx->nx", self.size_weights_, self.elements_.to_pixels(contrasts))
        pictures = pictures.reshape(len(X), -1)
        yield "picture", slice(0, pictures.shape[1]), pictures

    def score(self, X, y, sample_weight=None):
        """Coefficient of determination, averaged over pixels, as scikit-learn's regressors have it."""
        return r2_score(_flat(y), _flat(self.predict(X)), sample_weight=sample_weight)

    def summary(self):
        """A row per size of elements: how many there are, and the weight of their contrasts in the picture."""
        elements = self.elements_
        counts = np.bincount(elements.size_index)
        return [
            {"size": f"{height} x {width}", "elements": int(count), "weight": float(weight)}
            for (height, width), count, weight in zip(elements.sizes, counts, self.size_weights_)
        ]

    @classmethod
    def from_pretrained(cls, folder):
        """Load what `save_pretrained` has written.

        Parameters
        ----------
        folder : path

        Returns
        -------
        MultiscaleDecoder

        Raises
        ------
        InputError
            As `stages.decoders.decoder_files.read`.
        """
        config, tensors = decoder_files.read(cls, folder, {"parameters", "picture_grid", "picture_shape", "n_voxels"})
        decoder = cls(**config["parameters"])
        decoder.elements_ = ImageElements(decoder.sizes, config["picture_grid"])
        decoder._picture_shape, decoder.n_features_in_ = tuple(config["picture_shape"]), config["n_voxels"]
        decoder.selected_ = None
        for name, values in tensors.items():
            setattr(decoder, name, np.array(values))
        return decoder

    def describe(self):
        """What a fitted decoder is besides its tensors, JSON-able; on how many threads it was fitted is left out."""
        parameters = self.get_params(deep=False) | {"n_jobs": None}
        return {
            "class": type(self).__name__,
            "parameters": plain(parameters),
            "picture_grid": list(self.elements_.grid),
            "picture_shape": list(self._picture_shape),
            "n_voxels": int(self.n_features_in_),
            "tensors": shapes_of(self.tensors_),
        }

    @property
    def tensors_(self):
        """Arrays of the fitted decoder by the names of its attributes."""
        names = (*LOCAL_MODELS, "size_weights_", "element_weights_")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    # Fitting

    def check_parameters(self, grid=None):
        """Raise an InputError for a parameter that is not among its choices, or elements that do not fit into a grid."""
        if grid is not None:
            ImageElements(self.sizes, grid)
        check_all(self, RULES)
        if self.model == "ridge":
            check("alphas", self.alphas, ALPHAS_RULE)

    def _grid(self, n_pixels):
        if self.grid is None:
            if len(self._picture_shape) == 2:
                return self._picture_shape
            side = math.isqrt(n_pixels)
            return (side, side) if side**2 == n_pixels else (1, n_pixels)
        grid = ImageElements(1, self.grid).grid
        if math.prod(grid) != n_pixels or (len(self._picture_shape) == 2 and self._picture_shape != grid):
            raise InputError(
                f"Pictures have shape {self._picture_shape} but grid is {grid[0]} x {grid[1]}; pass pictures of that shape, "
                "or leave grid out."
            )
        return grid

    def _fitted(self, X, contrasts):
        names = ("model", "selection", "n_voxels", "n_nonzero", "alphas", "n_levels", "n_jobs")
        return fit_local_models(X, contrasts, **{name: getattr(self, name) for name in names})

    def _learn_weights(self, X, contrasts, pictures, groups, fitted):
        elements = self.elements_
        n_sizes = len(elements.sizes)
        if self.weights == "equal":
            self.size_weights_ = np.full(n_sizes, 1 / n_sizes)
        else:
            held_out = np.empty_like(contrasts)
            for done, (train, test) in enumerate(held_out_folds(pictures, groups, self.n_folds), start=1):
                held_out[test] = self._fitted(X[train], contrasts[train]).predict(X[test])
                fitted(done)
            if self.weights == "nnls":
                self.element_weights_ = element_weights(held_out, pictures, elements.indicators)
                counts = np.bincount(elements.size_index)
                self.size_weights_ = np.bincount(elements.size_index, self.element_weights_) / counts
                return
            self.size_weights_ = size_weights(elements.to_pixels(held_out), pictures, self.random_state)
        self.element_weights_ = self.size_weights_[elements.size_index]

    def _keep(self, models):
        for name, field in LOCAL_MODELS.items():
            setattr(self, name, getattr(models, field))


def _flat(pictures):
    pictures = np.asarray(pictures)
    return pictures.reshape(len(pictures), -1) if pictures.ndim == 3 else pictures
