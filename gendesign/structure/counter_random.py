"""Random numbers that depend on (seed, candidate, purpose, counter) alone, whatever batch or device they are drawn in.

A counter-based generator: every candidate has a 64-bit key, into which the purpose of a draw (gendesign.randomness) and
its counters, such as the step, are folded by the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi
10.1145/2660193.2660195). So no two draws share numbers, and a thousand candidates draw in one tensor operation.
"""

import math

import torch
from torch import Tensor

from gendesign.randomness import Purpose

_MIX1, _MIX2 = -4658895280553007687, -7723592293110705685  # of SplitMix64; all constants are of 64 bits, signed
_GOLDEN = -7046029254386353131  # 2^64 / golden ratio, odd: between the numbers of one stream
_FOLD = -4417276706812531889  # of xxHash, odd: between the keys that are folded from one key
_COUNTERS = 8  # more than a draw has counters; their number is a part of what is folded


def _shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # torch shifts in the sign bit; a hash needs zeros


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)


def _fold(key: Tensor, value: int | Tensor) -> Tensor:
    """A new key for every value."""
    values = torch.as_tensor(value, dtype=torch.int64, device=key.device)  # whose products wrap around
    return _mix(_mix(key ^ _FOLD) + values * _FOLD)


def keys(seed: int, indices: Tensor) -> Tensor:
    """A 64-bit key for each candidate of `indices` (candidates,)."""
    return _fold(_fold(torch.zeros_like(indices, dtype=torch.int64), seed), indices.long())


def derived(key: Tensor, purpose: Purpose, *counters: int | Tensor) -> Tensor:
    """A key for one purpose and its counters; `key` and the counters broadcast."""
    out = _fold(key, _COUNTERS * int(purpose) + len(counters))
    for counter in counters:
        out = _fold(out, counter)
    return out


def uniform(key: Tensor, purpose: Purpose, n: int, *counters: int) -> Tensor:
    """Numbers in (0, 1), float64, shape (*key.shape, n); the first ones are the same for every n."""
    return _stream(derived(key, purpose, *counters), n)


def normal(key: Tensor, purpose: Purpose, n: int, *counters: int) -> Tensor:
    """Standard normal numbers, float64, shape (*key.shape, n), by Box and Muller's transform."""
    u = uniform(key, purpose, 2 * n, *counters)
    return torch.sqrt(-2 * torch.log(u[..., :n])) * torch.cos(2 * math.pi * u[..., n:])


def _stream(key: Tensor, n: int) -> Tensor:
    bits = _mix(_mix(key[..., None] + torch.arange(n, device=key.device) * _GOLDEN) + _GOLDEN)
    return (_shift(bits, 11).double() + 0.5) * 2.0**-53


def pick(logits: Tensor, u: Tensor) -> Tensor:
    """One index per row (rows,) from unnormalised log-weights (rows, choices) and uniform numbers (rows,)."""
    cumulative = torch.softmax(logits.double(), -1).cumsum(-1)
    return (u[:, None] * cumulative[:, -1:] > cumulative).sum(-1).clamp_max(logits.shape[-1] - 1)
