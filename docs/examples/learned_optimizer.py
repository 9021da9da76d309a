"""Meta-train a learned optimizer on small networks by PES; use it as an optax transformation."""

import jax
import optax

import metarl
from metarl import optimizers
from metarl.estimators import PES, AntitheticTruncatedESConfig
from metarl.inner import Training, training_truncation
from metarl.tasks import families
from metarl.tasks.curricula import Uniform
from metarl.tasks.lifetimes import Lifetimes


def main(steps: int = 200, lifetime: int = 200, num_parallel: int = 8) -> dict:
    """Returns the weights of the optimizer."""
    family = families.make("mlp/digits?width=16&batch=64")
    optimizer = optimizers.mlp_lopt_inner()
    learner = Training(family, optimizer)
    tasks = Uniform(Lifetimes(family, lifetime, lifetime))
    config = AntitheticTruncatedESConfig(num_parallel=num_parallel, sigma=0.01)
    estimator = PES(config, training_truncation(learner, length=20), tasks)

    def report(step, log, theta):
        print(f"step {step}: meta-loss {log.losses.mean():.3f}")

    theta = metarl.meta_train(
        optimizer.init(jax.random.key(0)), estimator, optax.adam(3e-3),
        steps=steps, log_every=20, callback=report,
    )  # fmt: skip

    # The result is an optax transformation for any parameters.
    params = {"w": jax.numpy.ones((3, 2))}
    tx = optimizers.mlp_lopt(theta)
    updates, _ = tx.update({"w": jax.numpy.ones((3, 2))}, tx.init(params), params)
    print(jax.tree.map(lambda x: x.shape, updates))
    return theta


if __name__ == "__main__":
    main()
