"""Import mace-torch and e3nn quickly and silently; see gendesign.imports."""

from gendesign.imports import import_library

import_library(
    "mace",
    ["mace", "e3nn.o3", "mace.modules", "mace.tools.scripts_utils"],
    # its training loop, with torchmetrics, pandas and pyplot; the compiler of PyTorch; tensors in a spherical basis,
    # with scipy.signal
    defer=["mace.tools.train", "torch._dynamo", "e3nn.io"],
)
