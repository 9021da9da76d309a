"""VeLO, Celo and Celo2 in float64 NumPy, spelt from the formulas, one tensor at a time."""

import numpy as np

from tests.optimizers.numpy_lopt import Tensor, layers_of, mlp, normalize, velo_channels

DECAYS = (0.9, 0.99, 0.999)
POINTS = (0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0, 1.1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def linear(layer, x):
    return x @ np.float64(layer["kernel"]) + np.float64(layer["bias"])


def progress(step, num_steps):
    return np.array([np.tanh(10 * (min(step / num_steps, 1) - c)) for c in POINTS])


class Losses:
    """Ten running means of the loss."""

    def __init__(self, longest):
        self.decays = [np.exp(-1 / h) for h in np.geomspace(10, longest, 10)]
        self.means, self.least, self.count = [0.0] * 10, [np.inf] * 10, 0

    def see(self, loss):
        if self.count:
            pairs = zip(self.means, self.decays, strict=True)
            loss = min(loss, 2 * abs(max(m / (1 - d ** (self.count + 1)) for m, d in pairs)))
        self.count += 1
        pairs = zip(self.means, self.decays, strict=True)
        self.means = [d * m + (1 - d) * loss for m, d in pairs]
        pairs = zip(self.means, self.decays, strict=True)
        self.corrected = [m / (1 - d**self.count) for m, d in pairs]
        self.least = [min(a, b) for a, b in zip(self.least, self.corrected, strict=True)]

    def conditions(self):
        """Relative rounding of the means times this is the error of the features, `[9]`."""
        means, least = np.array(self.corrected), np.array(self.least)
        largest = np.maximum(means[:-1], means[1:])
        return largest / np.maximum(1e-8, means[1:] - least[:-1])

    def features(self):
        if self.count <= 2:
            return np.zeros(9)
        found = []
        for i in range(9):
            span = max(1e-8, self.corrected[i + 1] - self.least[i])
            found.append(np.clip((self.corrected[i] - self.least[i]) / span - 1, -1, 1))
        return np.array(found)


class Recurrent:
    """Mixing and LSTM, with a row for each of N tensors."""

    def __init__(self, theta, rows):
        self.theta = theta
        self.h, self.c = (
            np.tile(np.float64(theta["lstm"][name]), (rows, 1)) for name in ("hidden", "cell")
        )

    def step(self, x):
        shared = np.maximum(linear(self.theta["shared"], x), 0).max(0)
        self.h, self.c = lstm(
            self.theta["lstm"], linear(self.theta["own"], x) + shared, self.h, self.c
        )
        return self.h


def lstm(theta, x, h, c):
    n = h.shape[1]
    gates = linear(theta["gates"], np.concatenate([x, h], 1))
    i, g, f, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    c = sigmoid(f + 1) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def compressed(x):
    return 0.5 * np.clip(np.log(1e-8 + abs(10 * x)), -5, 5)


def tensor_row(p, tensor, progress, losses, validation):
    """Features of a tensor, from moments before the update."""
    scale = 1 / np.sqrt(max(1e-9, np.mean(p**2)))
    momenta, square = [m * scale for m in tensor.m], tensor.v[0] * scale
    rank = np.zeros(5)
    rank[sum(size > 1 for size in p.shape)] = 1
    parts = {
        "fraction_left": progress,
        "loss_features": losses,
        "mean_rms": [compressed(square.mean())],
        "rank": rank,
        "var_m": [compressed(np.mean((m - m.mean()) ** 2)) for m in momenta],
        "var_rms": [compressed(np.mean((square - m.mean()) ** 2)) for m in momenta],
    }
    flag = [] if validation is None else [float(validation)]
    return np.concatenate([parts[name] for name in sorted(parts)] + [flag])


def rule(tensor, layers, p, g):
    """`o_0 exp(o_1 / 1000)` of a network of VeLO's channels."""
    tensor.see(g)
    out = mlp(layers, normalize(velo_channels(tensor, p, g)))
    return out[..., 0] * np.exp(1e-3 * out[..., 1])


def scale_of(p):
    return np.sqrt(np.mean(p**2) + 1e-9)


def tensors_of(shapes, rms=0.999):
    return {name: Tensor(shape, DECAYS, (rms,), DECAYS) for name, shape in shapes.items()}


class VeLO:
    """All tensors, in the order of their names."""

    def __init__(self, theta, config, shapes, num_steps):
        self.theta, self.config, self.num_steps, self.count = theta, config, num_steps, 0
        self.tensors = tensors_of(shapes)
        self.losses = Losses(10 if config.bugged_loss_features else num_steps)
        self.recurrent = Recurrent(theta["tensors"], len(shapes))

    def networks(self, params, loss):
        """Layers and factor of every tensor."""
        self.losses.see(loss)
        inputs = progress(self.count, self.num_steps), self.losses.features()
        self.count += 1
        rows = [
            tensor_row(params[n], t, *inputs, self.config.validation)
            for n, t in self.tensors.items()
        ]
        before = self.recurrent.h, self.recurrent.c
        hidden = self.recurrent.step(np.stack(rows))
        if self.config.bugged_lstm_state:
            self.recurrent.h, self.recurrent.c = before
        controls = linear(self.theta["controls"], hidden)
        factors = linear(self.theta["step_size"], hidden)[:, 0]
        stack = layers_of(self.theta["networks"])
        for control, factor in zip(controls, factors, strict=True):
            mixture = []
            for kernels, biases in stack:
                kernel = np.mean([c * w for c, w in zip(control, kernels, strict=True)], 0)
                bias = np.mean([c * b for c, b in zip(control, biases, strict=True)], 0)
                scale = self.config.mixture_scale
                mixture.append((scale * kernel, scale * bias))
            yield mixture, factor

    def updates(self, params, gradient, loss):
        """What is to be added to the parameters."""
        made = {}
        networks = list(self.networks(params, loss))
        for (name, tensor), (layers, factor) in zip(self.tensors.items(), networks, strict=True):
            p, g = params[name], np.clip(gradient[name], -1000, 1000)
            made[name] = -1e-3 * factor * scale_of(p) * rule(tensor, layers, p, g)
        return made


class Schedule:
    """Celo's factor: one recurrent network a tensor, as published, though all rows are equal."""

    def __init__(self, theta, rows, num_steps):
        self.theta, self.rows, self.num_steps, self.count = theta, rows, num_steps, 0
        self.losses, self.recurrent = Losses(num_steps), Recurrent(theta, rows)

    def factors(self, loss):
        self.losses.see(loss)
        row = np.concatenate([progress(self.count, self.num_steps), self.losses.features()])
        self.count += 1
        hidden = self.recurrent.step(np.tile(row, (self.rows, 1)))
        return 0.1 * np.exp(linear(self.theta["step_size"], hidden)[:, 0])


class Celo:
    """All tensors."""

    def __init__(self, theta, shapes, num_steps):
        self.layers, self.tensors = layers_of(theta["network"]), tensors_of(shapes)
        self.schedule = Schedule(theta["schedule"], len(shapes), num_steps)

    def updates(self, params, gradient, loss):
        """What is to be added to the parameters."""
        made = {}
        factors = self.schedule.factors(loss)
        for (name, tensor), factor in zip(self.tensors.items(), factors, strict=True):
            p, g = params[name], np.clip(gradient[name], -1000, 1000)
            made[name] = -1e-3 * factor * scale_of(p) * rule(tensor, self.layers, p, g)
        return made


def polynomial(x, iterations=5):
    """What Newton and Schulz's iteration does to a singular value."""
    for _ in range(iterations):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


def orthogonalised(matrix):
    """By singular values, over the last two axes."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = polynomial(s / (np.sqrt(np.sum(s**2, -1, keepdims=True)) + 1e-8))
    return np.einsum("...ik,...k,...kj->...ij", u, s, v)


def celo2_direction(tensor, layers, p, g, orthogonal=True):
    """The learned direction of a tensor."""
    g = np.clip(g, -1000, 1000)
    tensor.see(g)
    channels = normalize(velo_channels(tensor, p, g, eps=1e-8, vector_eps=1.0), 1e-9, 2)
    if p.ndim < 2:  # as the authors' code: no factored channels
        channels, layers = channels[..., :15], [(layers[0][0][:15], layers[0][1]), *layers[1:]]
    step = mlp(layers, channels)[..., 0]
    if orthogonal and p.ndim > 1:
        step = orthogonalised(step)
    return normalize([step], 1e-9, 2)[..., 0]
