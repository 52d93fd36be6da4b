"""The interactive tool: a page on this machine to draw conditions, start runs and look at results.

`view(candidates)` shows structures in a notebook.
"""

from gendesign.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {"view": "gendesign.view.notebook"})
