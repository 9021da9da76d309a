"""The brax adapter, beyond the conformance table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metarl.core.errors import ConfigError
from metarl.envs import Box, make

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("brax/ant", {"ctrl_cost_wieght": 1.0}, "Did you mean 'ctrl_cost_weight'"),
        ("brax/swimmer", {"backend": "spring"}, "refused its options"),
        ("brax/reacher", {"vary": ("gravitas",)}, "no physics named 'gravitas'"),
        ("brax/reacher", {"episode_length": 0}, "must be positive"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        make(name, **options)


def test_making_one_warns_of_nothing(recwarn):
    env = make("brax/halfcheetah", backend="spring")
    assert not [w for w in recwarn if "maintained" in str(w.message)]
    assert env.observation_space == Box(-np.inf, np.inf, (17,))
    assert env.action_space == Box(-1.0, 1.0, (6,))
    assert env.default_params == {}


def test_physics_is_a_task_that_can_be_batched(key):
    """A free pendulum keeps its velocities without gravity, and falls to its side with it."""
    env = make("brax/inverted_pendulum", backend="positional", vary=("gravity",))
    # One number, rounded to float32.
    np.testing.assert_allclose(env.default_params["gravity"], [0, 0, -9.81], rtol=1e-6)

    def observe(params):
        first, state = env.reset(key, params)

        def act(state, _):
            step = env.step(key, state, jnp.zeros(1), params)
            return step.state, None

        state, _ = jax.lax.scan(act, state, length=30)
        return first, env.step(key, state, jnp.zeros(1), params).obs

    params = {"gravity": jnp.zeros((2, 3)).at[1, 2].set(-9.81)}
    with jax.numpy_rank_promotion("allow"):  # brax adds arrays of different rank
        first, last = jax.jit(jax.vmap(observe))(params)
    np.testing.assert_array_equal(first[0], first[1])  # [position, angle, and their velocities]
    # Thirty steps of a solver, each of several substeps that err by an ulp or so over a short time.
    np.testing.assert_allclose(last[0, 2:], first[0, 2:], atol=1e-4)
    tilt, gained = first[1, 1], last[1, 3] - first[1, 3]
    # g sin(tilt) / length = 9.81 * 0.0096 / 0.6 for 0.6 s makes about 0.1, less the cart's part.
    assert 0.02 < np.sign(tilt) * gained < 0.3
