"""Random estimates against theoretical moments: four standard errors, seed fixed."""

import numpy as np


def z_scores(samples, expected):
    """Distance of the mean of samples `[R, ...]` from the expected one, in standard errors."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    return (samples.mean(axis=0) - expected) / error


def assert_mean(samples, expected):
    assert np.all(np.abs(z_scores(samples, expected)) < 4)


def assert_variance(samples, expected):
    assert_mean((samples - samples.mean(axis=0)) ** 2, expected)
