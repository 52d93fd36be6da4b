"""install: packages of pretrained models, and LAMMPS, into folders of their own, or a table of them."""

from omegaconf import DictConfig


def run_install(verb: str, names: list[str], config: DictConfig) -> None:
    """Install every package that `names` name, or print the table; raises UserError."""
    from gendesign.packages import VARIABLE, engines_folder
    from gendesign.potential.engines.install import install, listing  # torch takes seconds
    from gendesign.run.table import aligned

    for name in names:
        print("\n".join(install(name)))
    if not names:
        print("\n".join(aligned(listing())))
        print(f"folder: {engines_folder()} ({VARIABLE} names another); gendesign install NAME installs one")
