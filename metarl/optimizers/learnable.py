"""SGD, momentum and Adam whose hyper-parameters are theta: the smallest learned optimizers.

Theta holds logarithms, so that any real number is permitted and a step of the outer optimizer is a
factor. As with other learned optimizers, numbers of a gradient that are not finite count as zero,
memory is float32, and updates have the parameters' dtype.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import optax

from metarl.core.errors import check_positive
from metarl.core.types import Array, Key, Theta
from metarl.optimizers.lopt.accumulators import in_float32
from metarl.optimizers.protocol import InnerOptimizer, Steps, without_parameter_info


@dataclass(frozen=True)
class LearnableSGDConfig:
    """Where theta starts.

    Attributes:
      learning_rate: of the first updates.
    """

    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)


@dataclass(frozen=True)
class LearnableMomentumConfig:
    """Where theta starts.

    Attributes:
      learning_rate: of the first updates.
      rate: one minus the decay of the momentum.
    """

    learning_rate: float = 1e-2
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, rate=self.rate)


@dataclass(frozen=True)
class LearnableAdamConfig:
    """Where theta starts.

    Attributes:
      learning_rate: of the first updates.
      rate_1, rate_2: one minus the decays of the two moments.
      eps: added to the root of the second moment.
      eps_root: added under that root; above zero if theta is to be learned by backpropagation,
        since the root has no finite derivative at zero. It is not learned.
    """

    learning_rate: float = 1e-3
    rate_1: float = 1e-1
    rate_2: float = 1e-3
    eps: float = 1e-8
    eps_root: float = 0.0

    def __post_init__(self) -> None:
        check_positive(
            learning_rate=self.learning_rate, rate_1=self.rate_1, rate_2=self.rate_2, eps=self.eps
        )


def learnable_sgd_init(config: LearnableSGDConfig, key: Key) -> Theta:
    """Makes theta: the scalar `log_learning_rate`."""
    del key
    return _logarithms(learning_rate=config.learning_rate)


def learnable_momentum_init(config: LearnableMomentumConfig, key: Key) -> Theta:
    """Makes theta: the scalars `log_learning_rate` and `log_rate`."""
    del key
    return _logarithms(learning_rate=config.learning_rate, rate=config.rate)


def learnable_adam_init(config: LearnableAdamConfig, key: Key) -> Theta:
    """Makes theta: the scalars `log_learning_rate`, `log_rate_1`, `log_rate_2`, `log_eps`."""
    del key
    return _logarithms(
        learning_rate=config.learning_rate,
        rate_1=config.rate_1,
        rate_2=config.rate_2,
        eps=config.eps,
    )


def learnable_sgd(
    theta: Theta, config: LearnableSGDConfig | None = None, num_steps: Steps | None = None
) -> optax.GradientTransformationExtraArgs:
    """Makes `g -> -learning_rate g`.

    Args:
      theta: see `learnable_sgd_init`.
      config, num_steps: not used.
    """
    del config, num_steps
    return in_float32(optax.scale(-_exp(theta, "learning_rate")))


def learnable_momentum(
    theta: Theta, config: LearnableMomentumConfig | None = None, num_steps: Steps | None = None
) -> optax.GradientTransformationExtraArgs:
    """Makes `g -> -learning_rate m` with `m = (1 - rate) m + g`.

    Args:
      theta: see `learnable_momentum_init`; a rate above 1 counts as 1.
      config, num_steps: not used.
    """
    del config, num_steps
    decay = 1.0 - _rate(theta, "rate")
    return in_float32(optax.chain(optax.trace(decay), optax.scale(-_exp(theta, "learning_rate"))))


def learnable_adam(
    theta: Theta, config: LearnableAdamConfig | None = None, num_steps: Steps | None = None
) -> optax.GradientTransformationExtraArgs:
    """Makes Adam, with bias correction.

    Args:
      theta: see `learnable_adam_init`; a rate above 1 counts as 1.
      config: says `eps_root`; None = the default.
      num_steps: not used.

    Reference: Kingma and Ba 2015, arXiv:1412.6980, algorithm 1.
    """
    del num_steps
    config = LearnableAdamConfig() if config is None else config
    adam = optax.scale_by_adam(
        b1=1.0 - _rate(theta, "rate_1"),
        b2=1.0 - _rate(theta, "rate_2"),
        eps=_exp(theta, "eps"),
        eps_root=config.eps_root,
    )
    return in_float32(optax.chain(adam, optax.scale(-_exp(theta, "learning_rate"))))


def learnable_sgd_inner(config: LearnableSGDConfig | None = None) -> InnerOptimizer:
    """Makes SGD for a learner, to be meta-trained."""
    config = LearnableSGDConfig() if config is None else config

    return without_parameter_info(
        "learnable_sgd",
        lambda key: learnable_sgd_init(config, key),
        lambda theta, num_steps: learnable_sgd(theta, config, num_steps),
    )


def learnable_momentum_inner(config: LearnableMomentumConfig | None = None) -> InnerOptimizer:
    """Makes momentum for a learner, to be meta-trained."""
    config = LearnableMomentumConfig() if config is None else config

    return without_parameter_info(
        "learnable_momentum",
        lambda key: learnable_momentum_init(config, key),
        lambda theta, num_steps: learnable_momentum(theta, config, num_steps),
    )


def learnable_adam_inner(config: LearnableAdamConfig | None = None) -> InnerOptimizer:
    """Makes Adam for a learner, to be meta-trained."""
    config = LearnableAdamConfig() if config is None else config

    return without_parameter_info(
        "learnable_adam",
        lambda key: learnable_adam_init(config, key),
        lambda theta, num_steps: learnable_adam(theta, config, num_steps),
    )


def _logarithms(**values: float) -> Theta:
    return {f"log_{name}": jnp.float32(np.log(value)) for name, value in values.items()}


def _exp(theta: Theta, name: str) -> Array:
    return jnp.exp(jnp.asarray(theta[f"log_{name}"]))


def _rate(theta: Theta, name: str) -> Array:
    return jnp.minimum(_exp(theta, name), 1.0)
