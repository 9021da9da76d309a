"""Data sets that need no download: what is in them, and that held-out examples are held out."""

import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.tasks import datasets
from metarl.tasks.datasets.mnist1d import mnist1d
from metarl.tasks.datasets.resize import grayscale, resize


def test_digits_are_those_of_uci():
    """Numbers of examples a class, of the test part, as its authors list them."""
    data = datasets.load("digits")
    counts = np.bincount(np.concatenate([data.train_targets, data.test_targets]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert (data.train_inputs.shape, data.test_inputs.shape) == ((1437, 8, 8, 1), (360, 8, 8, 1))
    everything = np.concatenate([data.train_inputs, data.test_inputs])
    # As scikit-learn's description has it: whole numbers in 0..16; its example prints a zero with
    # this first row.
    assert (everything.min(), everything.max()) == (0, 16)
    first = [0, 0, 5, 13, 9, 1, 0, 0]
    assert (everything[:, 0, :, 0] == first).all(1).any()
    assert np.asarray(data.preprocess(everything)).max() == 1.0


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_held_out_examples_are_not_in_training(name):
    data = datasets.load(name)
    seen = {row.tobytes() for row in data.train_inputs}
    assert not any(row.tobytes() in seen for row in data.test_inputs)
    assert set(data.train_targets) == set(data.test_targets) == set(range(data.classes))


def test_mnist1d_is_the_published_one():
    """Against the package of its authors, by their default seed."""
    published = pytest.importorskip("mnist1d.data")
    state = np.random.get_state()
    try:
        arguments = published.get_dataset_args()
        arguments.num_samples = 200
        theirs = published.make_dataset(arguments)
    finally:
        np.random.set_state(state)
    ours = mnist1d(200)
    # Rounded to float32 once; entries are of order 1.
    tolerance = 4 * np.finfo(np.float32).eps
    np.testing.assert_allclose(ours.train_inputs, theirs["x"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.test_inputs, theirs["x_test"], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(ours.train_targets, theirs["y"])
    np.testing.assert_array_equal(ours.test_targets, theirs["y_test"])


def test_arithmetic_is_right():
    text = datasets.load_text("arithmetic")
    train, test = (text.decode(part).splitlines() for part in (text.train, text.test))
    assert (len(train), len(test)) == (18_000, 2_000)
    assert not set(train) & set(test)
    for line in train[::97] + test[::17]:
        left, right = line.split("=")
        sign = "+" if "+" in left else "-"
        a, b = (int(number) for number in left.split(sign))
        assert int(right) == (a + b if sign == "+" else a - b)
    assert text.train.max() < len(text.characters) == len(set(text.characters)) == 14


def test_sentences_are_all_different():
    text = datasets.load_text("grammar")
    lines = (text.decode(text.train) + text.decode(text.test)).splitlines()
    assert len(lines) == len(set(lines)) == 5000
    assert all(
        line.endswith(".") and line.replace(".", "").replace(" ", "a").isalpha() for line in lines
    )


def area_mean(image, size):
    """The mean over areas of a continuous picture, by sampling it finely."""
    fine = 60
    large = np.repeat(np.repeat(image, fine, 0), fine, 1).astype(np.float64)
    block = large.shape[0] // size
    return large.reshape(size, block, size, block).mean((1, 3))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_smaller_images_are_means_over_areas(size):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 5, 2), dtype=np.uint8)
    made = resize(images, size)
    assert (made.shape, made.dtype) == ((3, size, size, 2), np.uint8)
    for i in range(3):
        for channel in range(2):
            expected = area_mean(images[i, ..., channel], size)
            # Rounded to whole levels; float32 may fall to either side of a half.
            assert np.abs(made[i, ..., channel] - expected).max() <= 0.5 + 1e-3


def test_without_antialias_images_are_interpolated():
    """28 to 8: pixel i lies at 3.5 i + 1.25, a quarter of the way from one old one to the next."""
    images = np.random.default_rng(1).integers(0, 256, (2, 28, 28, 1), dtype=np.uint8)
    made = resize(images, 8, antialias=False)[..., 0]
    x = images[..., 0].astype(np.float64)
    places = 3.5 * np.arange(8) + 1.25
    low, share = places.astype(int), places % 1
    rows = x[:, low] * (1 - share)[:, None] + x[:, low + 1] * share[:, None]
    expected = rows[:, :, low] * (1 - share) + rows[:, :, low + 1] * share
    assert np.abs(made - expected).max() <= 0.5 + 1e-3


def test_grey_is_the_luminance():
    colours = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]], np.uint8)
    assert grayscale(colours)[0, 0, :, 0].tolist() == [76, 150, 29, 255]


def test_names_are_listed_and_data_remembered():
    assert set(datasets.names()) == {
        "digits", "mnist1d", "mnist", "fashion_mnist", "cifar10", "arithmetic", "grammar",
    }  # fmt: skip
    assert datasets.load("digits") is datasets.load("digits")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("digit",), "Unknown data set 'digit'. Did you mean 'digits'"),
        (("digits", 9), "sizes from 1 to 8, got 9"),
        (("digits", 0), "sizes from 1 to 8, got 0"),
        (("digits", None, True, True), "digits has no colours"),
        (("mnist1d", 8), "mnist1d has no images"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        datasets.load(*arguments)


def test_unknown_text():
    with pytest.raises(ConfigError, match="Did you mean 'grammar'"):
        datasets.load_text("gramar")
