"""Scores of levels for curricula: learning potential and regret, from data of one lifetime.

Every score is a scalar for one level; higher means more useful for training. Use vmap for many
levels. Trajectories are `[T, B]`: `T` steps in `B` copies of the level. Advantages are those of
`metarl.rl.advantages.generalized_advantage_estimation`, `A_t = sum_k>=t (gamma lambda)^(k-t)
delta_k` within an episode. A score that is undefined is NaN.
"""

import jax.numpy as jnp

from metarl.core.types import Array


def l1_value_loss(advantages: Array) -> Array:
    """L1 value loss: `mean_t |A_t|`.

    Args:
      advantages: GAE advantages `[T, B]`.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.1.
    """
    return jnp.mean(jnp.abs(advantages))


def positive_value_loss(advantages: Array) -> Array:
    """Positive value loss: `mean_t max(A_t, 0)`.

    Args:
      advantages: GAE advantages `[T, B]`.

    Reference: Jiang et al. 2021, arXiv:2110.02439.
    """
    return jnp.mean(jnp.maximum(advantages, 0.0))


def max_monte_carlo(values: Array, highest: Array) -> Array:
    """Maximum Monte Carlo regret estimate: `mean_t (R_max - V(s_t))`.

    Args:
      values: values V of the states acted in, `[T, B]`.
      highest: highest return R_max on the level so far, a scalar, with the discount of the values;
        the caller keeps it across lifetimes.

    Reference: Jiang et al. 2021, arXiv:2110.02439.
    """
    return jnp.mean(highest - values)


def learnability(success: Array, done: Array) -> Array:
    """Learnability `p (1 - p)` with success rate p; NaN if no episode ended.

    It is largest at p = 1/2, and zero on levels that are solved always or never.

    Args:
      success: whether the episode that ends with this step succeeded, `[T, B]`; ignored at other
        steps.
      done: whether the episode ended with this step, `[T, B]`.

    Reference: Rutherford et al. 2024, arXiv:2408.15099.
    """
    rate = jnp.mean(success.astype(jnp.float32), where=done.astype(bool))
    return rate * (1.0 - rate)


def algorithmic_regret(baseline_return: Array, agent_return: Array) -> Array:
    """Algorithmic regret: `mean(baseline) - mean(agent)`; negative where the agent is better.

    The baseline is an agent of a handcrafted algorithm (called antagonist by Jackson et al.),
    trained for the same lifetime on the same level.

    Args:
      baseline_return: returns of the baseline agent at the end of its lifetime, `[B]`.
      agent_return: returns of the agent at the end of its lifetime, `[B]`; B may differ.

    Reference: Jackson et al. 2023, arXiv:2310.02782.
    """
    return jnp.mean(baseline_return) - jnp.mean(agent_return)


def optimal_regret(optimal_return: Array, agent_return: Array) -> Array:
    """Regret to an optimal policy: `V* - mean(agent)`.

    Args:
      optimal_return: expected return V* of an optimal policy, a scalar, over the horizon and with
        the discount of the agent's returns; needs an oracle.
      agent_return: returns of the agent at the end of its lifetime, `[B]`.

    Reference: Dennis et al. 2020, arXiv:2012.02096.
    """
    return optimal_return - jnp.mean(agent_return)
