"""Random numbers that depend on (seed, candidate, purpose, position) alone, whatever batch or device they are drawn in.

A counter-based generator: a key per candidate is mixed with a counter by the finaliser of SplitMix64 (Steele, Lea and
Flood, OOPSLA 2014, doi 10.1145/2660193.2660195), so a thousand candidates draw in one tensor operation.
"""

import math

import torch
from torch import Tensor

_GOLDEN, _MIX1, _MIX2 = -7046029254386353131, -4658895280553007687, -7723592293110705685  # 64-bit constants, signed


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts in the sign bit; a hash needs zeros


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)


def keys(seed: int, indices: Tensor) -> Tensor:
    """A 64-bit key for each candidate of `indices` (candidates,)."""
    return _mix(_mix(indices.long() * _GOLDEN + seed) + _GOLDEN)


def uniform(key: Tensor, draw: int, n: int) -> Tensor:
    """Numbers in (0, 1), float64, shape (*key.shape, n); `draw` counts the calls, so that no two share numbers."""
    counter = torch.arange(n, device=key.device) + (draw << 32)
    bits = _mix(_mix(key[..., None] + counter * _GOLDEN) + _GOLDEN)
    return (_shift(bits, 11).double() + 0.5) * 2.0**-53


def normal(key: Tensor, draw: int, n: int) -> Tensor:
    """Standard normal numbers, float64, shape (*key.shape, n), by Box and Muller's transform."""
    u = uniform(key, draw, 2 * n)
    return torch.sqrt(-2 * torch.log(u[..., :n])) * torch.cos(2 * math.pi * u[..., n:])


def pick(logits: Tensor, u: Tensor) -> Tensor:
    """One index per row (rows,) from unnormalised log-weights (rows, choices) and uniform numbers (rows,)."""
    cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
    return (u[:, None] * cumulative[:, -1:] > cumulative).sum(-1).clamp_max(logits.shape[-1] - 1)
