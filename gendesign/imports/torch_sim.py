"""Import torch-sim quickly and silently; see gendesign.imports."""

from gendesign.imports import has_gpu, import_library

# Without a GPU its neighbour lists for one are of no use, and we have our own.
import_library("torch_sim", ["torch_sim"], absent=[] if has_gpu() else ["nvalchemiops"])
