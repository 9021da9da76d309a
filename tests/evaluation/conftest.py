"""Small results whose every number is chosen."""

import numpy as np
import pytest

from metarl.evaluation.results import EnvironmentResult
from metarl.problems import registry

registry.kinds()  # registers the baselines that figures and verdicts tell from learned rules


@pytest.fixture
def make_result():
    """`(env, {rule: scores}, **fields)`; curves rise linearly to each seed's score."""

    def make(env, scores, **changes):
        steps = np.array([100.0, 200.0, 300.0, 400.0])
        scores = {rule: np.asarray(x, float) for rule, x in scores.items()}
        curves = {rule: x[:, None] * steps / 400 for rule, x in scores.items()}
        fields = {"steps": steps, "curves": curves, "scores": scores, "random_score": 0.0}
        return EnvironmentResult(env=env, **{**fields, **changes})

    return make
