"""Sums in a fixed order: on a CPU the same bits from call to call, also with several threads."""

import torch


def fix_order(device: torch.device) -> None:
    """Let torch add in a fixed order if the model runs on the CPU, in any order otherwise.

    Without it `index_add` and the accumulation of gradients add in the order in which threads arrive. On a GPU the
    same switch slows many sums and forbids others, so equal bits are not promised there.
    """
    # Beside a GPU, sums that have no fixed order there give a warning instead of an error. This is the switch of
    # torch.use_deterministic_algorithms, which imports PyTorch's compiler first: two seconds.
    mode = "default" if device.type != "cpu" else "warn" if torch.cuda.is_available() else "error"
    torch.set_deterministic_debug_mode(mode)
    # It would also fill every new tensor with NaN, which finds mistakes and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by name in PyTorch
