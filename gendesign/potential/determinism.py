"""Sums in a fixed order: on a CPU the same bits from call to call, also with several threads."""

import torch


def fix_order(device: torch.device) -> None:
    """Let torch add in a fixed order where the model runs on the CPU; elsewhere it is not asked to.

    `index_add` and the accumulation of gradients add in whatever order threads arrive, else. On a GPU the same switch
    slows many sums and forbids others, so bits are not promised there.
    """
    on_cpu = device.type == "cpu"
    # Where a GPU may be in use beside, what has no fixed order there must not be an error.
    torch.use_deterministic_algorithms(on_cpu, warn_only=torch.cuda.is_available())
    # It would also fill every new tensor with NaN, which finds mistakes and changes no result.
    torch.utils.deterministic.fill_uninitialized_memory = False
