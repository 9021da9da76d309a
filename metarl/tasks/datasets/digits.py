"""8x8 digits, included: 1797 handwritten digits of 13 people, 17 gray levels.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine
Learning Repository, doi:10.24432/C50P49, CC BY 4.0), the same that scikit-learn ships.
"""

from importlib.resources import files

import numpy as np

from metarl.tasks.datasets.dataset import Dataset

_TRAINING = 1437
"""Number of training examples, four fifths."""


def digits() -> Dataset:
    """Loads the digits; a fixed random sample of 360 is held out."""
    with (
        files("metarl.tasks.datasets").joinpath("digits.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        images, labels = stored["images"], stored["labels"]
    # The file is ordered by writer.
    order = np.random.RandomState(0).permutation(len(labels))
    images, labels = images[order][..., None], labels[order].astype(np.int32)
    return Dataset(
        "digits",
        images[:_TRAINING],
        labels[:_TRAINING],
        images[_TRAINING:],
        labels[_TRAINING:],
        classes=10,
        scale=1 / 16,
    )
