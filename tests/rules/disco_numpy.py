"""DiscoRL's targets and loss in float64 NumPy, one step and one trajectory at a time.

Written from the description of the rule, with the arrays under their published names. A rollout is
a dictionary: `outputs`, `target` (outputs at every step, `[T, B, ...]`), `next_outputs`,
`next_target` (at every step's successor), `mu [T, B, A]`, `action`, `reward`, `terminated`, `done`.
"""

import numpy as np

SETTINGS = {"gamma": 0.997, "lambda": 0.95, "decay": 0.99, "eps": 1e-6}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_squash(x):
    return np.sign(x) * np.log(1 + np.abs(x))


def squash(x, eps=1e-3):
    return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + eps * x


def unsquash(x, eps=1e-3):
    z = (np.sqrt(1 + 4 * eps * (np.abs(x) + 1 + eps)) - 1) / (2 * eps)
    return np.sign(x) * (z**2 - 1)


def linear(p, name, x):
    w = p[f"{name}/w"]
    return x @ (w[0] if w.ndim == 3 else w) + p[f"{name}/b"]


def mlp(p, name, x):
    return linear(p, f"{name}/~/linear_1", np.maximum(linear(p, f"{name}/~/linear_0", x), 0))


def block(p, name, x):
    """One convolution block over actions, x [A, C]."""
    mean = np.repeat(x.mean(0, keepdims=True), len(x), axis=0)
    return np.maximum(linear(p, name, np.concatenate([x, mean], axis=1)), 0)


def lstm(p, name, x, h, c):
    i, g, f, o = np.split(linear(p, name, np.concatenate([x, h])), 4)
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def scalar(q_logits, max_value):
    return unsquash(softmax(q_logits) @ np.linspace(-max_value, max_value, q_logits.shape[-1]))


def value_targets(rollout, max_value):
    """V of now and then, the target network's q, Retrace targets, advantages."""
    r = rollout
    pi, next_pi = softmax(r["outputs"]["logits"]), softmax(r["next_outputs"]["logits"])
    q, next_q = scalar(r["outputs"]["q"], max_value), scalar(r["next_outputs"]["q"], max_value)
    tq, next_tq = scalar(r["target"]["q"], max_value), scalar(r["next_target"]["q"], max_value)
    v, next_v = (pi * q).sum(-1), (next_pi * next_q).sum(-1)
    tv, next_tv = (pi * tq).sum(-1), (next_pi * next_tq).sum(-1)
    mu = softmax(r["mu"])
    steps, batch = r["reward"].shape
    target = np.zeros((steps, batch))
    for b in range(batch):
        for t in reversed(range(steps)):
            value = next_tv[t, b]
            if t + 1 < steps and not r["done"][t, b]:
                a = r["action"][t + 1, b]
                c = SETTINGS["lambda"] * min(1, pi[t + 1, b, a] / mu[t + 1, b, a])
                value += c * (target[t + 1, b] - tq[t + 1, b, a])
            target[t, b] = r["reward"][t, b]
            if not r["terminated"][t, b]:
                target[t, b] += SETTINGS["gamma"] * value
    return {
        "v": v,
        "next_v": next_v,
        "tq": tq,
        "target": target,
        "advantage": target - tv,
        "action_advantage": tq - tv[..., None],
    }


def network_inputs(p, prefix, r, values, normalise, t, b):
    """The 27 inputs of a step, and the embeddings of its actions [A, 2]."""
    a = r["action"][t, b]
    now = {k: x[t, b] for k, x in r["outputs"].items()}
    then = {k: x[t, b] for k, x in r["next_outputs"].items()}
    target_now = {k: x[t, b] for k, x in r["target"].items()}
    target_then = {k: x[t, b] for k, x in r["next_target"].items()}
    pi, next_pi = softmax(now["logits"]), softmax(then["logits"])
    mu, target_pi = softmax(r["mu"][t, b]), softmax(target_now["logits"])

    def y_net(y):
        return mlp(p, f"{prefix}/mlp", softmax(y))[0]

    def z_net(z):
        return mlp(p, f"{prefix}/mlp_1", softmax(z))[:, 0]

    def of_z(first, second):
        e, next_e = z_net(first["z"]), z_net(second["z"])
        return [e[a], pi @ e, next_pi @ next_e, e.max(), next_e.max()]

    x = [pi[a], mu[a], log_squash(r["reward"][t, b]), 1.0 - r["terminated"][t, b]]
    x += [log_squash(values["v"][t, b]), log_squash(values["next_v"][t, b])]
    x += [log_squash(values["advantage"][t, b]), normalise(values["advantage"][t, b])]
    x += [target_pi[a]]
    x += [y_net(now["y"]), y_net(then["y"]), y_net(target_now["y"]), y_net(target_then["y"])]
    x += of_z(now, then) + of_z(target_now, target_then)
    assert len(x) == 23
    advantage = values["action_advantage"][t, b]
    each = np.stack(
        [
            pi,
            mu,
            target_pi,
            z_net(now["z"]),
            z_net(target_now["z"]),
            log_squash(values["tq"][t, b]),
            log_squash(advantage),
            normalise(advantage),
            np.eye(len(pi))[a],
        ],
        axis=1,
    )
    for name in ("conv1_d", "conv1_d_1"):
        each = block(p, f"{prefix}/sequential/{name}", each)
    return np.concatenate([x, each.mean(0), each[a]]), each


def targets(p, r, memory, max_value):
    """pi_hat, y_hat, z_hat and the next memory `(hidden, cell, first, second, unseen)`."""
    hidden, cell, first, second, unseen = memory
    values = value_targets(r, max_value)
    d = SETTINGS["decay"]
    first = d * first + (1 - d) * values["advantage"].mean()
    second = d * second + (1 - d) * (values["advantage"] ** 2).mean()
    unseen = d * unseen
    mean, square = first / (1 - unseen), second / (1 - unseen)
    scale = np.sqrt(max(square - mean**2, 0) + 1e-12) + SETTINGS["eps"]

    def normalise(x):
        return (x - mean) / scale

    steps, batch = r["reward"].shape
    out = {name: [[None] * batch for _ in range(steps)] for name in ("policy", "y", "z")}
    gate = linear(p, "lstm/linear", hidden)
    life = "lstm/~/meta_lstm/~unroll"
    pooled = []
    for b in range(batch):
        h = c = np.zeros(p["lstm/lstm/linear/b"].size // 4)
        for t in reversed(range(steps)):
            if r["done"][t, b]:
                h, c = np.zeros_like(h), np.zeros_like(c)
            x, actions = network_inputs(p, "lstm", r, values, normalise, t, b)
            h, c = lstm(p, "lstm/lstm/linear", x, h, c)
            features = h * gate
            repeated = np.repeat(features[None], len(actions), axis=0)
            mixed = np.concatenate([repeated, actions], axis=1)
            mixed = block(p, "lstm/sequential_1/conv1_d", mixed)
            out["policy"][t][b] = linear(p, "lstm/linear_4", mixed)[:, 0]
            out["y"][t][b] = linear(p, "lstm/linear_2", features)
            out["z"][t][b] = linear(p, "lstm/linear_3", features)
            own, _ = network_inputs(p, life, r, values, normalise, t, b)
            summary = linear(p, "lstm/linear_1", features)
            y_hat = mlp(p, f"{life}/mlp", softmax(out["y"][t][b]))
            joined = np.concatenate([own, summary, y_hat])
            pooled.append(linear(p, f"{life}/mlp_2/~/linear_0", joined))
    hidden, cell = lstm(p, f"{life}/lstm/linear", np.mean(pooled, axis=0), hidden, cell)
    out = {name: np.array(x) for name, x in out.items()}
    return out, values, (hidden, cell, first, second, unseen)


def divergence(p_logits, q_logits):
    p, q = softmax(p_logits), softmax(q_logits)
    return (p * (np.log(p) - np.log(q))).sum()


def loss(r, meta, values, max_value):
    """Mean over steps of the agent's loss."""
    total = []
    for t, b in np.ndindex(r["reward"].shape):
        a = r["action"][t, b]
        out = {k: x[t, b] for k, x in r["outputs"].items()}
        one = divergence(meta["policy"][t, b], out["logits"])
        one += divergence(meta["y"][t, b], out["y"])
        one += divergence(meta["z"][t, b], out["z"][a])
        if not r["terminated"][t, b]:
            one += divergence(r["next_outputs"]["logits"][t, b], out["aux_pi"][a])
        log_q = np.log(softmax(out["q"][a]))
        bins = len(log_q)
        place = (np.clip(squash(values["target"][t, b]), -max_value, max_value) + max_value) * (
            (bins - 1) / (2 * max_value)
        )
        lower = min(int(place), bins - 2)
        share = place - lower
        one += 0.2 * -((1 - share) * log_q[lower] + share * log_q[lower + 1])
        total.append(one)
    return np.mean(total)
