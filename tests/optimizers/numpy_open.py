"""OPEN spelt in float64 NumPy from its formulas, one tensor and one gate at a time."""

import numpy as np

BETAS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward(theta, h, x):
    """`h [..., H]`, `x [..., 19]` to outputs `[..., 3]` and the new `h`."""
    t = {name: np.asarray(value, np.float64) for name, value in theta.items()}
    reset = sigmoid(x @ t["ir_kernel"] + t["ir_bias"] + h @ t["hr_kernel"])
    update = sigmoid(x @ t["iz_kernel"] + t["iz_bias"] + h @ t["hz_kernel"])
    memory = h @ t["hn_kernel"] + t["hn_bias"]
    candidate = np.tanh(x @ t["in_kernel"] + t["in_bias"] + reset * memory)
    h = (1 - update) * candidate + update * h
    y = h
    for i in (0, 1):
        y = y @ t[f"dense_{i}_kernel"] + t[f"dense_{i}_bias"]
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
        y = np.maximum(y * t[f"norm_{i}_scale"] + t[f"norm_{i}_bias"], 0)
    return y @ t["dense_2_kernel"] + t["dense_2_bias"], h


class Tensor:
    """One tensor and its memory; `dormancy` broadcasts to its shape."""

    def __init__(self, value, layer, width):
        self.value = np.asarray(value, np.float64)
        self.layer = layer
        self.momenta = [np.zeros(self.value.shape) for _ in BETAS]
        self.carry = np.zeros((*self.value.shape, width))

    def step(self, theta, gradient, progress, epoch, dormancy):
        """Returns the noiseless step `u` of this tensor, before the mean is subtracted."""
        self.momenta = [
            b * m + (1 - b) * gradient for b, m in zip(BETAS, self.momenta, strict=True)
        ]
        columns = [self.value]
        columns += [np.sign(m) for m in self.momenta]
        columns += [np.log(np.abs(m) + 1e-13) for m in self.momenta]
        columns += [np.sign(gradient), np.log(np.abs(gradient) + 1e-13)]
        columns = [c / np.sqrt(np.mean(c**2) + 1e-5) for c in columns]
        for constant in (progress, self.layer, epoch, dormancy):
            columns.append(np.broadcast_to(constant, self.value.shape))
        out, self.carry = forward(theta, self.carry, np.stack(columns, -1))
        return 0.001 * out[..., 0] * np.exp(0.001 * out[..., 1])


class Optimizer:
    """All tensors together; `layers` are those of the tensors, by name."""

    def __init__(self, theta, params, layers):
        self.theta = theta
        width = len(theta["hn_bias"])
        self.tensors = {name: Tensor(params[name], layers[name], width) for name in params}

    def updates(self, params, gradient, progress, epoch, activity):
        """What is to be added to `params`; `activity` by tensor, None = all units alike."""
        steps = {}
        for name, tensor in self.tensors.items():
            active = activity[name]
            if active is not None:
                active = np.asarray(active, np.float64) + 1e-11
            dormancy = 1.0 if active is None else active / active.mean()
            tensor.value = np.asarray(params[name], np.float64)
            steps[name] = tensor.step(
                self.theta, np.asarray(gradient[name], np.float64), progress, epoch, dormancy
            )
        mean = np.mean(np.concatenate([np.ravel(u) for u in steps.values()]))
        return {name: mean - u for name, u in steps.items()}
