"""`view(candidates)`: molecules, crystals and their properties in a cell of a notebook, by chemiscope."""

import html
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ase import Atoms

from gendesign.errors import UserError
from gendesign.run.explorer import INSTALL, explorer_page, installed
from gendesign.structure.types import Candidate, Verdict

FINISHED = "finished"


class View:
    """A page that a notebook shows in a frame of its own; `page` is its HTML, which needs no network."""

    def __init__(self, page: str, height: int) -> None:
        self.page, self.height = page, height

    def _repr_html_(self) -> str:
        """The frame, as notebooks ask for it."""
        return (
            f'<iframe title="Structures" srcdoc="{html.escape(self.page)}" width="100%" height="{self.height}" '
            'style="border: 1px solid #ccc; border-radius: 6px"></iframe>'
        )


def view(structures: Iterable[Candidate | Atoms], verdicts: Sequence[Verdict] = (), *, height: int = 620) -> View:
    """Show structures in 3D beside a map of their properties.

    structures: candidates or `ase.Atoms`, molecules and crystals. verdicts: of `screen`, which become properties to
    colour and sort by. height: of the frame in pixels. Raises UserError where nothing can be shown.

        from gendesign import SimGen, load_potential, relax, screen
        from gendesign.view import view

        molecules = relax(list(SimGen(load_potential()).generate(range(10), seed=1)), load_potential())
        view(molecules, screen(molecules))
    """
    candidates = [one if isinstance(one, Candidate) else Candidate(one, index) for index, one in enumerate(structures)]
    if len({candidate.index for candidate in candidates}) < len(candidates):
        candidates = [replace(candidate, index=index) for index, candidate in enumerate(candidates)]
    if installed() is None:
        raise UserError(f"view needs chemiscope: {INSTALL}")
    known = {verdict.candidate for verdict in verdicts if verdict.check == FINISHED}
    said = [Verdict(c.index, FINISHED, c.failure is None, reason=c.failure or "") for c in candidates]
    rows = [*(verdict for verdict in said if verdict.candidate not in known), *verdicts]
    page = explorer_page({"identity": {"verb": "view"}}, candidates, rows)
    if page is None:
        raise UserError("view: none of these structures can be shown; give candidates that did not fail")
    return View(page, height)
