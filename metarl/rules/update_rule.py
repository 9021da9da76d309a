"""Update rules: the loss of an agent and the network outputs that the loss needs.

A drift (`metarl.rules.protocol`) replaces one term of a handcrafted objective. An update rule
defines the whole objective: advantage actor-critic, LPG and DiscoRL are update rules. One learner
(`metarl.inner.rule_agent`) trains agents with any of them. A rule may be stateful; its state is
kept for the lifetime of the agent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from metarl.core.types import Array, Key, PyTree, Theta
from metarl.rl.trajectory import Trajectory

Outputs: TypeAlias = Mapping[str, Array]
"""Outputs of an agent's network for observations, by name; always with `logits [..., A]`."""

Apply: TypeAlias = Callable[[PyTree, Array], Outputs]
"""`(params, obs [..., *obs]) -> outputs [..., *shape]`."""

RuleState: TypeAlias = PyTree

LOGITS = "logits"
"""Name of the output that holds the policy logits."""


class LifetimeProgress(NamedTuple):
    """Position of an agent in its lifetime; float scalars.

    Attributes:
      update: number n of updates so far.
      lifetime: number N of updates in the lifetime.
    """

    update: Array
    lifetime: Array


@dataclass(frozen=True)
class UpdateRule:
    """An update rule, handcrafted or learned, in two parts.

    `targets` computes targets for the agent's outputs from a rollout; `loss` measures the distance
    of the outputs from these targets, and the learner minimizes it. Only `loss` is differentiated
    with respect to the agent's parameters. A meta-gradient reaches theta through the targets; it
    also reaches the inputs of `targets` unless the rule stops it there.

    Attributes:
      name: name of the rule.
      init: `key -> theta`, the initial meta-parameters; `()` for a handcrafted rule.
      outputs: `number of actions -> {name: shape}`, the outputs that the agent's network must
        have; `logits` is always among them, with shape `(A,)`.
      init_state: `(theta, params) -> rule_state` of a new agent; `()` for a stateless rule.
      targets: `(theta, rule_state, params, apply, trajectory, progress) -> (targets, rule_state,
        log)`: a pytree for `loss`, the next state, and scalars by name for logging.
      loss: `(outputs, trajectory, targets) -> scalar`; `outputs [T, B, *shape]` are the network's
        outputs for `trajectory.obs`.
    """

    name: str
    init: Callable[[Key], Theta]
    outputs: Callable[[int], Mapping[str, tuple[int, ...]]]
    init_state: Callable[[Theta, PyTree], RuleState]
    targets: Callable[
        [Theta, RuleState, PyTree, Apply, Trajectory, LifetimeProgress],
        tuple[PyTree, RuleState, dict[str, Array]],
    ]
    loss: Callable[[Outputs, Trajectory, PyTree], Array]


def empty_state(theta: Theta, params: PyTree) -> tuple[()]:
    """Returns `()`: the `init_state` of a stateless rule."""
    del theta, params
    return ()
