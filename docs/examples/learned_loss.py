"""Learn a policy-gradient loss for PPO on an environment, and use it.

Four choices: tasks (an environment), learner (PPO with an open drift), estimator (evolution
strategies over whole lifetimes), outer optimizer (Adam).
"""

import jax
import optax

import metarl
from metarl import envs
from metarl.core.contracts import Unroll
from metarl.estimators import FullES, FullESConfig
from metarl.inner import PPO, MeanReturnLoss, PPOConfig
from metarl.rules import LearnedDriftConfig, learned_drift


def main(steps: int = 20, population: int = 32, total_steps: int = 25_600) -> dict:
    """Returns the weights of the drift."""
    env = envs.make("gymnax/CartPole-v1")
    drift = learned_drift(LearnedDriftConfig(hidden=16))
    learner = PPO(env, PPOConfig(total_steps=total_steps, num_envs=16, rollout_length=32), drift)
    unroll = Unroll(env, learner, learner.config.updates, MeanReturnLoss(0.25))
    estimator = FullES(FullESConfig(population=population, sigma=0.05), (unroll,))

    def report(step, log, theta):
        print(f"step {step}: mean return {-log.losses.mean():.1f}")

    return metarl.meta_train(
        drift.init(jax.random.key(0)), estimator, optax.adam(0.02), steps=steps, callback=report
    )


if __name__ == "__main__":
    main()
