"""Labels from a reference method, and potentials fitted to them."""

from gendesign.lazy import lazy_names

# Lazy, because every labelling process imports this package.
__getattr__, __dir__, __all__ = lazy_names(
    __name__, {"label_files": "gendesign.train.labelling", "train_files": "gendesign.train.training"}
)
