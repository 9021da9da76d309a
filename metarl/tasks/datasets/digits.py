"""8x8 digits, shipped: 1797 handwritten digits of 13 people, 17 grey levels.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine
Learning Repository, doi:10.24432/C50P49, CC BY 4.0), the same that scikit-learn ships.
"""

from importlib.resources import files

import numpy as np

from metarl.tasks.datasets.dataset import Dataset

_TRAINING = 1437
"""Four fifths of them."""


def digits() -> Dataset:
    """Reads the digits; a fixed draw of 360 is held out."""
    with (
        files("metarl.tasks.datasets").joinpath("digits.npz").open("rb") as stream,
        np.load(stream, allow_pickle=False) as stored,
    ):
        images, labels = stored["images"], stored["labels"]
    # They are ordered by writer.
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
