"""SGD, momentum and Adam with meta-learned hyper-parameters.

Theta holds their logarithms, so every real value is valid and an outer step is multiplicative. As
in other learned optimizers, non-finite elements of gradients count as zero, the state is float32,
and updates have the parameters' dtype.
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
    """Initial hyper-parameters.

    Attributes:
      learning_rate: initial learning rate.
    """

    learning_rate: float = 1e-2

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate)


@dataclass(frozen=True)
class LearnableMomentumConfig:
    """Initial hyper-parameters.

    Attributes:
      learning_rate: initial learning rate.
      rate: one minus the decay of the momentum.
    """

    learning_rate: float = 1e-2
    rate: float = 0.1

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.learning_rate, rate=self.rate)


@dataclass(frozen=True)
class LearnableAdamConfig:
    """Initial hyper-parameters.

    Attributes:
      learning_rate: initial learning rate.
      rate_1, rate_2: one minus the decays of the two moments.
      eps: constant added to the root of the second moment.
      eps_root: constant added under that root, not learned. Backpropagation to theta requires a
        positive value, since the root has no finite derivative at zero.
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
    """Returns theta: the scalar `log_learning_rate`."""
    del key
    return _logarithms(learning_rate=config.learning_rate)


def learnable_momentum_init(config: LearnableMomentumConfig, key: Key) -> Theta:
    """Returns theta: the scalars `log_learning_rate` and `log_rate`."""
    del key
    return _logarithms(learning_rate=config.learning_rate, rate=config.rate)


def learnable_adam_init(config: LearnableAdamConfig, key: Key) -> Theta:
    """Returns theta: the scalars `log_learning_rate`, `log_rate_1`, `log_rate_2`, `log_eps`."""
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
    """Returns the transformation `g -> -learning_rate g`.

    Args:
      theta: weights, see `learnable_sgd_init`.
      config, num_steps: unused.
    """
    del config, num_steps
    return in_float32(optax.scale(-_exp(theta, "learning_rate")))


def learnable_momentum(
    theta: Theta, config: LearnableMomentumConfig | None = None, num_steps: Steps | None = None
) -> optax.GradientTransformationExtraArgs:
    """Returns the transformation `g -> -learning_rate m` with `m = (1 - rate) m + g`.

    Args:
      theta: weights, see `learnable_momentum_init`; rates are clipped to 1.
      config, num_steps: unused.
    """
    del config, num_steps
    decay = 1.0 - _rate(theta, "rate")
    return in_float32(optax.chain(optax.trace(decay), optax.scale(-_exp(theta, "learning_rate"))))


def learnable_adam(
    theta: Theta, config: LearnableAdamConfig | None = None, num_steps: Steps | None = None
) -> optax.GradientTransformationExtraArgs:
    """Returns Adam with bias correction.

    Args:
      theta: weights, see `learnable_adam_init`; rates are clipped to 1.
      config: config with `eps_root`; None = the default.
      num_steps: unused.

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
    """Returns SGD as an `InnerOptimizer` for meta-training."""
    config = LearnableSGDConfig() if config is None else config
    return without_parameter_info("learnable_sgd", config, learnable_sgd_init, learnable_sgd)


def learnable_momentum_inner(config: LearnableMomentumConfig | None = None) -> InnerOptimizer:
    """Returns momentum SGD as an `InnerOptimizer` for meta-training."""
    config = LearnableMomentumConfig() if config is None else config
    return without_parameter_info(
        "learnable_momentum", config, learnable_momentum_init, learnable_momentum
    )


def learnable_adam_inner(config: LearnableAdamConfig | None = None) -> InnerOptimizer:
    """Returns Adam as an `InnerOptimizer` for meta-training."""
    config = LearnableAdamConfig() if config is None else config
    return without_parameter_info("learnable_adam", config, learnable_adam_init, learnable_adam)


def _logarithms(**values: float) -> Theta:
    return {f"log_{name}": jnp.float32(np.log(value)) for name, value in values.items()}


def _exp(theta: Theta, name: str) -> Array:
    return jnp.exp(jnp.asarray(theta[f"log_{name}"]))


def _rate(theta: Theta, name: str) -> Array:
    return jnp.minimum(_exp(theta, name), 1.0)
