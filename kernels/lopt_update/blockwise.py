"""The update in place on CPU: block by block, so that what is made on the way is a block's."""

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from metarl.kernels.lopt_update import reference
from metarl.kernels.lopt_update.cuts import Cuts, cuts
from metarl.kernels.lopt_update.features import FeatureSet, Ingredients, ingredients
from metarl.kernels.lopt_update.moments import Factors, Moments, Rates, update_moments, factored_axes, _average, SQUARE_EPS
from metarl.kernels.lopt_update.network import UNROLLED_WIDTH, Layer, steps
from metarl.kernels.lopt_update.tiles import CPU, PARTS, _added

Array = jax.Array
SUMMED = 4096
UNROLLED = 8192
LEAST = 8
PT = ()


class Tensor(NamedTuple):
    parameter: Array
    gradient: Array
    momenta: Array
    rms: Array | None
    factors: Factors | None


def lopt_apply(features, layers, scale, parameter, gradient, moments, rates, exponent):
    return _in_blocks(features, exponent, layers, jnp.float32(scale), parameter, gradient, moments, rates)


def _in_blocks(features, exponent, layers, scale, parameter, gradient, moments, rates):
    seen, row, col = _before_the_elements(features, parameter, gradient, moments, rates)
    tensor = Tensor(parameter, gradient, moments.momenta, moments.rms, seen.factors)
    new = partial(_seen, features, rates)
    means = partial(_means, tensor, new)
    design, weights = reference.fold(features, layers, exponent, seen, means)
    shape = parameter.shape
    wide = weights.kernel.shape[1] > UNROLLED_WIDTH
    blocks = cuts(shape, CPU.most if wide else min(UNROLLED, prod(shape) // LEAST))

    def body(i, held):
        p, momenta, rms = held
        starts, fresh = blocks.starts(i), blocks.fresh(i)
        cut = lambda x: blocks.cut(x, starts)
        now = Tensor(p, gradient, momenta, rms, seen.factors)
        part = jax.tree.map(cut, now)
        own = new(part)
        w = weights._replace(scales=jax.tree.map(cut, weights.scales), rest=jax.tree.map(cut, weights.rest))
        moved = reference.moved(part.parameter, steps(design, w, own) * scale)
        if fresh is not None:
            moved = jnp.where(fresh, moved, part.parameter)
        p = blocks.put(p, moved, starts)
        one = jax.lax.dynamic_slice(p, starts, (1,)*len(starts)).reshape(())
        after = jnp.clip(one.astype(jnp.int32), 0, 0)
        starts = [s + after for s in starts]
        part = jax.tree.map(cut2 := (lambda x: blocks.cut(x, starts)), Tensor(p, gradient, momenta, rms, None))
        own = new(part)
        made, old = (own.momenta, own.rms), (part.momenta, part.rms)
        if fresh is not None:
            made = jax.tree.map(lambda x, y: jnp.where(fresh, x, y), made, old)
        momenta, rms = jax.tree.map(lambda x, y: blocks.put(x, y, starts), (momenta, rms), made)
        return p, momenta, rms

    held = (parameter, moments.momenta, moments.rms)
    p, momenta, rms = jax.lax.fori_loop(0, blocks.number, body, held)
    return p, Moments(momenta, rms, row, col)


def _before_the_elements(features, parameter, gradient, moments, rates):
    row, col = moments.row, moments.col
    if row is not None:
        d1, d0 = factored_axes(gradient.shape)
        over_d0, over_d1 = _square_means(features, gradient, d1, d0)
        row = _average(rates.factored, row, jnp.squeeze(over_d0, d0) + SQUARE_EPS)
        col = _average(rates.factored, col, jnp.squeeze(over_d1, d1) + SQUARE_EPS)
    seen = ingredients(features, parameter.astype(jnp.float32), gradient.astype(jnp.float32), moments._replace(row=row, col=col))
    return seen, row, col

def _square_means(features, gradient, d1, d0):
    shape = gradient.shape
    blocks = cuts(shape, min(SUMMED, prod(shape) // LEAST))
    def body(i, held):
        starts, fresh = blocks.starts(i), blocks.fresh(i)
        g = _clipped(features, blocks.cut(gradient, starts))
        square = g * g
        if fresh is not None: square = jnp.where(fresh, square, 0.0)
        sums = [_added(square, (d0,)), jnp.sum(square, d1, keepdims=True)]
        return [blocks.put(x, blocks.cut(x, starts) + y, starts) for x, y in zip(held, sums)]
    start = [jnp.zeros([1 if a == d else n for a, n in enumerate(shape)]) for d in (d0, d1)]
    a, b = jax.lax.fori_loop(0, blocks.number, body, start)
    return a / shape[d0], b / shape[d1]

def _clipped(features, g):
    g = g.astype(jnp.float32)
    if features.gradient_limit is not None:
        g = jnp.clip(g, -features.gradient_limit, features.gradient_limit)
    return g

def _seen(features, rates, part):
    p, g = part.parameter.astype(jnp.float32), part.gradient.astype(jnp.float32)
    if features.gradient_limit is not None:
        g = jnp.clip(g, -features.gradient_limit, features.gradient_limit)
    m = update_moments(Moments(part.momenta, part.rms, None, None), g, rates)
    f = part.factors
    return Ingredients(g, p, m.momenta, m.rms, f, None if f is None else f.row_scale)


def _means(tensor, new, squares, seen, shape, axes):
    blocks = cuts(shape, min(SUMMED, prod(shape) // LEAST))
    axis = next((a for a in axes if blocks.block[a] > 1), axes[0])
    parts = next((k for k in PT if blocks.block[axis] % k == 0), 1)
    length = blocks.block[axis] // parts

    def summed(i):
        starts, fresh = blocks.starts(i), blocks.fresh(i)
        part = jax.tree.map(lambda x: blocks.cut(x, starts), tensor)
        total = None
        for k in range(parts):
            def piece(x):
                a = x.ndim - len(shape) + axis
                return x if x.shape[a] == 1 else jax.lax.slice_in_dim(x, k * length, (k + 1) * length, axis=a)
            kinds = squares(new(jax.tree.map(piece, part)))
            if fresh is not None:
                own = piece(fresh)
                kinds = [jnp.where(own, x, 0.0) for x in kinds]
            total = kinds if total is None else [a + b for a, b in zip(total, kinds)]
        return total

    like = jax.eval_shape(summed, jnp.int32(0))
    lead = [1 if a in axes else s for a, s in enumerate(shape)]
    start = [jnp.zeros(x.shape, jnp.float32) for x in like]
    total = jax.lax.fori_loop(0, blocks.number, lambda i, t: [a + b for a, b in zip(t, summed(i))], start)
    later = tuple(1 + a for a in axes)
    sums = jnp.concatenate([jnp.sum(x, later, keepdims=True) for x in total])
    return sums / prod(shape[a] for a in axes)
