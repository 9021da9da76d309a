"""Learned optimizers in float64 NumPy, from the formulas: not folded, one array of all
channels of all elements."""

import numpy as np

TIMES = np.array([1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5])


def time_channels(t):
    return np.tanh(t / TIMES - 1)


def safe_rsqrt(x):
    return 1 / np.sqrt(np.maximum(x, 1e-9))


def two_largest(shape):
    """Second largest and largest axis; of equal ones the later is larger."""
    pairs = sorted((size, axis) for axis, size in enumerate(shape))
    return pairs[-2][1], pairs[-1][1]


def mlp(layers, x):
    """`layers`: kernel and bias in float64; `x [..., in]`."""
    for i, (kernel, bias) in enumerate(layers):
        x = x @ kernel + bias
        if i + 1 < len(layers):
            x = np.maximum(x, 0)
    return x


def layers_of(network):
    network = [network[f"layer_{i}"] for i in range(len(network))]
    return [(np.float64(x["kernel"]), np.float64(x["bias"])) for x in network]


class Tensor:
    """One tensor's averages."""

    def __init__(self, shape, momenta, rms=(), factored=()):
        self.shape = shape
        self.decays = {"m": momenta, "v": rms, "f": factored}
        self.m = [np.zeros(shape) for _ in momenta]
        self.v = [np.zeros(shape) for _ in rms]
        self.full = [np.zeros(shape) for _ in factored]
        if len(shape) > 1:
            self.d1, self.d0 = two_largest(shape)
            self.row = [np.zeros(np.mean(np.zeros(shape), self.d0).shape) for _ in factored]
            self.col = [np.zeros(np.mean(np.zeros(shape), self.d1).shape) for _ in factored]

    def see(self, g):
        def average(name, old, new):
            pairs = zip(self.decays[name], old, strict=True)
            return [d * a + (1 - d) * new for d, a in pairs]

        self.m = average("m", self.m, g)
        self.v = average("v", self.v, g * g)
        square = g * g + 1e-30
        if len(self.shape) > 1:
            self.row = average("f", self.row, square.mean(self.d0))
            self.col = average("f", self.col, square.mean(self.d1))
        else:
            self.full = average("f", self.full, square)

    def spread(self, k):
        """Row and column average k, and both factors, at the tensor's shape."""
        row = np.expand_dims(self.row[k], self.d0) + np.zeros(self.shape)
        col = np.expand_dims(self.col[k], self.d1) + np.zeros(self.shape)
        mean = np.expand_dims(self.row[k], self.d0).mean(self.d1, keepdims=True)
        return row, col, safe_rsqrt(row / (mean + 1e-9)), safe_rsqrt(col)

    def factored(self, g, vector_eps=1e-6):
        """Gradients, rows, columns and momenta of each decay; each a list."""
        gradient, rows, cols, momenta = [], [], [], []
        for k, m in enumerate(self.m):
            if len(self.shape) > 1:
                row, col, row_factor, col_factor = self.spread(k)
                gradient.append(g * row_factor * col_factor)
                momenta.append(m * row_factor * col_factor)
            else:
                row = col = self.full[k]
                gradient.append(g * safe_rsqrt(row + 1e-9))
                momenta.append(m * (row + vector_eps) ** -0.5)
            rows.append(row)
            cols.append(col)
        return gradient, rows, cols, momenta


def normalize(channels, eps=1e-5, axes=None):
    """Each channel by its root mean square, over the last `axes` axes or all."""
    out = []
    for x in channels:
        first = 0 if axes is None else max(x.ndim - axes, 0)
        over = tuple(range(first, x.ndim))
        out.append(x / np.sqrt(eps + np.mean(x * x, axis=over, keepdims=True)))
    return np.stack(out, -1)


def with_time(x, t):
    time = np.broadcast_to(time_channels(t), (*x.shape[:-1], len(TIMES)))
    return np.concatenate([x, time], -1)


def adafac_channels(tensor, p, g):
    """The 28 channels of Metz et al. 2022, in order."""
    (v,) = tensor.v
    inverse = 1 / np.sqrt(v + 1e-6)
    gradient, rows, cols, momenta = tensor.factored(g)
    return [
        *[g, p, *tensor.m, v, *[m * inverse for m in tensor.m], inverse],
        *[*gradient, *rows, *cols],
        *[1 / np.sqrt(row + 1e-8) for row in rows],
        *[1 / np.sqrt(col + 1e-8) for col in cols],
        *momenta,
    ]


def velo_channels(tensor, p, g, eps=1e-6, vector_eps=0.0):
    """The 30 channels of VeLO and Celo2, in order."""
    (v,) = tensor.v
    inverse = 1 / np.sqrt(v + eps)
    gradient, rows, cols, momenta = tensor.factored(g, vector_eps)
    return [
        *[g, np.clip(g, -0.1, 0.1), p, *tensor.m, v],
        *[*[m * inverse for m in tensor.m], inverse, *gradient, g * inverse, *rows, *cols],
        *[1 / np.sqrt(row + 1e-8) for row in rows],
        *[1 / np.sqrt(col + 1e-8) for col in cols],
        *momenta,
    ]


def mlp_lopt_step(tensor, network, p, g, t, step_mult=1e-3, exp_mult=1e-3):
    """What is subtracted from the parameter."""
    tensor.see(g)
    out = mlp(layers_of(network), with_time(normalize([g, p, *tensor.m]), t))
    return step_mult * out[..., 0] * np.exp(exp_mult * out[..., 1])


def adafac_step(tensor, network, p, g, t, step_mult, exp_mult=1e-3):
    tensor.see(g)
    out = mlp(layers_of(network), with_time(normalize(adafac_channels(tensor, p, g)), t))
    return step_mult * out[..., 0] * np.exp(exp_mult * out[..., 1])
