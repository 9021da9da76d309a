"""What an update rule is: the whole loss of an agent, and the outputs that the agent needs for it.

A drift (`metarl.rules.protocol`) is one open term of a hand-made objective. An update rule is all
of it: advantage actor-critic, LPG and DiscoRL are update rules, and one learner
(`metarl.inner.rule_agent`) lives with any of them. A rule may remember: its state lasts as long as
the agent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from metarl.core.types import Array, Key, PyTree, Theta
from metarl.rl.trajectory import Trajectory

Outputs: TypeAlias = Mapping[str, Array]
"""What an agent's network says of observations, by name; always `logits [..., A]`."""

Apply: TypeAlias = Callable[[PyTree, Array], Outputs]
"""`(params, obs [..., *obs]) -> outputs [..., *shape]`."""

RuleState: TypeAlias = PyTree

LOGITS = "logits"
"""The output that is the policy."""


class LifetimeProgress(NamedTuple):
    """Where an agent stands in its life; float scalars.

    Attributes:
      update: n, updates made so far.
      lifetime: N, updates of the whole life.
    """

    update: Array
    lifetime: Array


@dataclass(frozen=True)
class UpdateRule:
    """An update rule, written down or learned, in two parts.

    `targets` reads a rollout and says what the agent should have done and predicted; `loss`
    measures how far its outputs are from that, and is what the learner descends. Only `loss` is
    differentiated with respect to the agent's parameters; a meta-gradient reaches theta through the
    targets, and reaches the inputs of `targets` too unless the rule stops it there.

    Attributes:
      name: how people call it.
      init: `key -> theta`, the meta-parameters; `()` for a rule that is written down.
      outputs: `number of actions -> {name: shape}` of the outputs that the agent's network must
        have; `logits` is always among them, with shape `(A,)`.
      init_state: `(theta, params) -> rule_state` of a new agent; `()` for a rule without memory.
      targets: `(theta, rule_state, params, apply, trajectory, progress)` to `(targets, rule_state,
        log)`: a pytree for `loss`, the state to go on with, and scalars by name to look at.
      loss: `(outputs, trajectory, targets) -> scalar`; `outputs [T, B, *shape]` are those of
        `trajectory.obs`.
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
    """The `start` of a rule that remembers nothing."""
    del theta, params
    return ()
