"""Times rejax's PPO; run by `bench.py --peer-python` in an environment of its own.

rejax 0.1.3 needs gymnax 0.0.x, so it cannot share ours:
  python3 -m venv peer && peer/bin/pip install rejax==0.1.3 gymnax==0.0.9 jax==0.9.2
"""

import json
import statistics
import time

import jax
from rejax import PPO

STEPS = 976 * 512


def measure(seeds: int) -> dict[str, float]:
    """Steps a second over all seeds, and seconds to compile; no evaluation."""
    algo = PPO.create(
        env="CartPole-v1",
        num_envs=4,
        num_steps=128,
        num_epochs=4,
        num_minibatches=4,
        learning_rate=2.5e-4,
        max_grad_norm=0.5,
        total_timesteps=STEPS,
        eval_freq=STEPS,
        skip_initial_evaluation=True,
        agent_kwargs={"activation": "tanh"},
    ).replace(eval_callback=lambda algo, state, rng: ())
    keys = jax.random.split(jax.random.PRNGKey(0), seeds)
    train = jax.jit(jax.vmap(algo.train) if seeds > 1 else algo.train)
    argument = keys if seeds > 1 else keys[0]
    started = time.perf_counter()
    program = train.lower(argument).compile()
    compiled = time.perf_counter() - started
    times = []
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(program(argument))
        times.append(time.perf_counter() - started)
    rate = seeds * STEPS / statistics.median(times)
    return {"steps_per_second": rate, "compile_seconds": compiled}


if __name__ == "__main__":
    print(json.dumps({f"{seeds}_seeds": measure(seeds) for seeds in (1, 8)}))
