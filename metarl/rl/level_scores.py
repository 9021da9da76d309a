"""How much there is to learn on a level, read off what one lifetime showed there.

Every score is a scalar for one level, higher for a level that is worth more; for many levels, vmap.
Trajectories are `[T, B]`: `T` steps in `B` copies of the level. Advantages are those of
`metarl.rl.advantages.generalized_advantage_estimation`: `A_t = sum_k>=t (gamma lambda)^(k-t) delta_k` within an
episode. Scores that cannot be told are NaN, or minus infinity where a maximum is over nothing.
"""

import jax.numpy as jnp

from metarl.core.types import Array


def l1_value_loss(advantages: Array) -> Array:
    """Size of the critic's errors: `mean_t |A_t|`.

    Args:
      advantages: `[T, B]`, by generalised advantage estimation.

    Reference: Jiang et al. 2021, arXiv:2010.03934, section 3.1.
    """
    return jnp.mean(jnp.abs(advantages))


def positive_value_loss(advantages: Array) -> Array:
    """The critic's underestimates only: `mean_t max(A_t, 0)`.

    Args:
      advantages: `[T, B]`, by generalised advantage estimation.

    Reference: Jiang et al. 2021, arXiv:2110.02439.
    """
    return jnp.mean(jnp.maximum(advantages, 0.0))


def max_monte_carlo(values: Array, highest: Array) -> Array:
    """How far the critic stays below the best return ever seen: `mean_t (R_max - V(s_t))`.

    Args:
      values: of the states acted in, `[T, B]`.
      highest: R_max, the highest return seen on the level so far, a scalar, discounted as the
        values are; whoever plays the level again carries it along.

    Reference: Jiang et al. 2021, arXiv:2110.02439.
    """
    return jnp.mean(highest - values)


def learnability(success: Array, done: Array) -> Array:
    """`p (1 - p)`, p being the share of episodes that succeeded; NaN if none ended.

    Largest on levels that are solved now and then, zero on those solved always or never.

    Args:
      success: whether the episode that ends with this step succeeded, `[T, B]`; not read elsewhere.
      done: whether the episode ended with this step, `[T, B]`.

    Reference: Rutherford et al. 2024, arXiv:2408.15099.
    """
    rate = jnp.mean(success.astype(jnp.float32), where=done.astype(bool))
    return rate * (1.0 - rate)


def algorithmic_regret(baseline_return: Array, agent_return: Array) -> Array:
    """What a hand-made algorithm, trained as long on the same level, gets and the agent does not.

    `mean(baseline) - mean(agent)`; negative where the agent is the better one.

    Args:
      baseline_return: returns of the other agent at the end of its life, `[B]`.
      agent_return: returns of the agent at the end of its life, `[B]`, of any other number.

    Reference: Jackson et al. 2023, arXiv:2310.02782.
    """
    return jnp.mean(baseline_return) - jnp.mean(agent_return)


def optimal_regret(optimal_return: Array, agent_return: Array) -> Array:
    """What an optimal policy gets and the agent does not: `V* - mean(agent)`.

    Args:
      optimal_return: V*, the expected return of an optimal policy, a scalar, over the horizon and
        with the discount of the agent's returns; needs an oracle.
      agent_return: returns of the agent at the end of its life, `[B]`.

    Reference: Dennis et al. 2020, arXiv:2012.02096.
    """
    return optimal_return - jnp.mean(agent_return)
