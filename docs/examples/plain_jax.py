"""A policy-gradient loop in plain JAX and optax whose objective is a drift of metarl.

Nothing of metarl's learner, environments or networks is used: CartPole, the networks and the loop
are all below. The one thing that comes from metarl is `drift(ratio, advantage)`, subtracted in
`loss`. Run it on the rule that ships first, on PPO's clip, or on a file that you evolved:

    python docs/examples/plain_jax.py
    python docs/examples/plain_jax.py --drift ppo
    python docs/examples/plain_jax.py --drift runs/lpo/.../artifacts/lpo-cartpole.safetensors
"""

import argparse
from functools import partial

import jax
import jax.numpy as jnp
import optax

from metarl import rules

ENVS, STEPS, EPOCHS, MINIBATCHES = 16, 128, 4, 16
GAMMA, LAMBDA, LEARNING_RATE, ENTROPY, LONGEST = 0.99, 0.95, 2.5e-3, 0.01, 500

optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(LEARNING_RATE, eps=1e-5))


# CartPole-v1: state and observation are (position, velocity, angle, angular velocity).
def cartpole_reset(key):
    """Draws the first state of an episode, `[4]`."""
    return jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)


def cartpole_step(state, action):
    """Moves one step of 0.02 s; returns the state and whether the pole fell."""
    _, velocity, angle, spin = state
    force = jnp.where(action == 1, 10.0, -10.0)
    push = (force + 0.05 * spin**2 * jnp.sin(angle)) / 1.1
    torque = 9.8 * jnp.sin(angle) - jnp.cos(angle) * push
    turning = torque / (0.5 * (4.0 / 3.0 - 0.1 * jnp.cos(angle) ** 2 / 1.1))
    speeding = push - 0.05 * turning * jnp.cos(angle) / 1.1
    state = state + 0.02 * jnp.stack([velocity, speeding, spin, turning])
    fell = (jnp.abs(state[0]) > 2.4) | (jnp.abs(state[2]) > 12 * jnp.pi / 180)
    return state, fell


# Two networks 4 -> 64 -> 64 -> outputs, as lists of (weights, bias).
def init_network(key, outputs, last_scale):
    """Draws orthogonal weights; the last layer is scaled apart."""
    sizes, scales = [(4, 64), (64, 64), (64, outputs)], [2**0.5, 2**0.5, last_scale]
    keys = jax.random.split(key, len(sizes))
    orthogonal = jax.nn.initializers.orthogonal
    return [
        (orthogonal(scale)(k, size), jnp.zeros(size[1]))
        for k, size, scale in zip(keys, sizes, scales, strict=True)
    ]


def apply_network(layers, x):
    """Maps observations `[..., 4]` to `[..., outputs]`."""
    for weights, bias in layers[:-1]:
        x = jnp.tanh(x @ weights + bias)
    weights, bias = layers[-1]
    return x @ weights + bias


def log_probs(params, obs):
    """Log-probabilities of both actions, `[..., 2]`."""
    return jax.nn.log_softmax(apply_network(params["policy"], obs))


def values(params, obs):
    """Values of observations, `[...]`."""
    return apply_network(params["value"], obs)[..., 0]


def collect(key, params, carry):
    """Acts for STEPS steps; every array of the result is [STEPS, ENVS, ...]."""

    def act(carry, key):
        obs, age, total = carry
        key_action, key_reset = jax.random.split(key)
        log_prob = log_probs(params, obs)
        action = jax.random.categorical(key_action, log_prob)
        reached, fell = jax.vmap(cartpole_step)(obs, action)
        age, total = age + 1, total + 1.0
        done = fell | (age >= LONGEST)
        fresh = jax.vmap(cartpole_reset)(jax.random.split(key_reset, ENVS))
        taken = jnp.take_along_axis(log_prob, action[:, None], axis=1)[:, 0]
        record = {"obs": obs, "reached": reached, "action": action, "log_prob": taken}
        record |= {"fell": fell, "done": done, "total": total}
        obs = jnp.where(done[:, None], fresh, reached)
        return (obs, jnp.where(done, 0, age), jnp.where(done, 0.0, total)), record

    return jax.lax.scan(act, carry, jax.random.split(key, STEPS))


def advantages(params, path):
    """Generalised advantages: bootstraps where the time ran out, not where the pole fell."""
    now, then = values(params, path["obs"]), values(params, path["reached"])
    errors = 1.0 + GAMMA * (1.0 - path["fell"]) * then - now

    def back(advantage, inputs):
        error, done = inputs
        advantage = error + GAMMA * LAMBDA * (1.0 - done) * advantage
        return advantage, advantage

    _, result = jax.lax.scan(back, jnp.zeros(ENVS), (errors, path["done"]), reverse=True)
    return result, result + now


def loss(params, batch, drift):
    """What one gradient step descends; `drift` is the open term."""
    log_prob = log_probs(params, batch["obs"])
    taken = jnp.take_along_axis(log_prob, batch["action"][:, None], axis=1)[:, 0]
    ratio = jnp.exp(taken - batch["log_prob"])
    # Learned drifts were evolved on advantages standardised in the minibatch.
    advantage = batch["advantage"]
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    surrogate = ratio * advantage - drift(ratio, advantage)  # <- the objective
    value_error = 0.5 * (values(params, batch["obs"]) - batch["target"]) ** 2
    entropy = -jnp.sum(jnp.exp(log_prob) * log_prob, axis=-1)
    return jnp.mean(-surrogate + 0.5 * value_error - ENTROPY * entropy)


@partial(jax.jit, static_argnames="drift")
def iteration(key, params, opt_state, carry, drift):
    """One rollout and the epochs on it, compiled."""
    key_collect, *keys = jax.random.split(key, 1 + EPOCHS)
    carry, path = collect(key_collect, params, carry)
    advantage, target = advantages(params, path)
    batch = {name: path[name] for name in ("obs", "action", "log_prob")}
    batch |= {"advantage": advantage, "target": target}
    batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
    orders = jnp.stack([jax.random.permutation(k, ENVS * STEPS) for k in keys])

    def gradient_step(state, indices):
        params, opt_state = state
        gradient = jax.grad(loss)(params, jax.tree.map(lambda x: x[indices], batch), drift)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    indices = orders.reshape(EPOCHS * MINIBATCHES, -1)
    (params, opt_state), _ = jax.lax.scan(gradient_step, (params, opt_state), indices)
    finished = jnp.sum(path["done"])
    mean_return = jnp.sum(path["total"] * path["done"]) / jnp.maximum(finished, 1)
    return params, opt_state, carry, jnp.where(finished > 0, mean_return, path["total"][-1].mean())


def choose_drift(name):
    """Returns a hand-made drift, or a learned one by its name or path."""
    written_down = {"ppo": rules.ppo_clip_drift, "dpo": rules.dpo_drift, "none": rules.no_drift}
    return written_down[name] if name in written_down else rules.load(name)


def train(drift, iterations=50, seed=0):
    """Trains one agent and returns the mean return of each iteration."""
    key_policy, key_value, key_reset, key_train = jax.random.split(jax.random.key(seed), 4)
    params = {
        "policy": init_network(key_policy, 2, last_scale=0.01),
        "value": init_network(key_value, 1, last_scale=1.0),
    }
    opt_state = optimizer.init(params)
    obs = jax.vmap(cartpole_reset)(jax.random.split(key_reset, ENVS))
    carry = (obs, jnp.zeros(ENVS, jnp.int32), jnp.zeros(ENVS))
    returns = []
    for number, key in enumerate(jax.random.split(key_train, iterations)):
        params, opt_state, carry, mean = iteration(key, params, opt_state, carry, drift)
        returns.append(float(mean))
        print(f"iteration {number + 1:3d}  return {returns[-1]:6.1f}", flush=True)
    return returns


def main():
    """Reads the command line and trains."""
    default = next(iter(rules.pretrained()), "ppo")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--drift", default=default, help=f"ppo, dpo, none, name or path ({default})"
    )
    parser.add_argument("--iterations", type=int, default=50, help="of 2048 steps each (50)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"CartPole-v1 with the drift {options.drift!r}")
    train(choose_drift(options.drift), options.iterations, options.seed)


if __name__ == "__main__":
    main()
