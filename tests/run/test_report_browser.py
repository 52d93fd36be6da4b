"""report.html and explorer.html in headless Chromium: tables sort, structures are drawn, nothing is requested."""

from collections.abc import Iterator
from pathlib import Path

import chains as toy
import pytest
from ase import Atoms
from browser import Browser, chromium

from gendesign.run.explorer import explorer_page
from gendesign.run.report import write_report
from gendesign.run.table import count
from gendesign.structure.types import Candidate, Verdict

pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)")

POINTS = """(() => {
  const inside = (root) => [...root.querySelectorAll("*")].flatMap((e) => e.shadowRoot
    ? [...e.shadowRoot.querySelectorAll(".js-plotly-plot"), ...inside(e.shadowRoot)] : []);
  return inside(document)[0].data[0].x.length;
})()"""
# Share of the pixels of the structure's picture that differ from its corner.
DRAWN = """(async () => {
  const image = new Image();
  image.src = await window.visualizer.structure.exportActivePNG();
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer);
  return pixels.filter((pixel) => pixel !== pixels[0]).length / pixels.length;
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium"), (720, 420)) as page:
        yield page


def perovskite(edge: float) -> Atoms:
    """A cubic cell of methylammonium lead iodide with this edge in Angstrom."""
    lead = Atoms("PbI3", [[0, 0, 0], [edge / 2, 0, 0], [0, edge / 2, 0], [0, 0, edge / 2]])
    places = [[-0.74, 0, 0], [0.74, 0, 0], [-1.1, 1.0, 0], [-1.1, -0.5, 0.9], [-1.1, -0.5, -0.9]]
    places += [[1.1, -0.95, 0], [1.1, 0.5, 0.8], [1.1, 0.5, -0.8]]
    cation = Atoms("CNH6", [[x + edge / 2, y + edge / 2, z + edge / 2] for x, y, z in places])
    atoms = lead + cation
    atoms.set_cell([edge] * 3)
    atoms.set_pbc(True)
    return atoms


def pages_of_perovskites(folder: Path) -> None:
    """report.html and explorer.html of three ranked crystals and one that a search has stopped."""
    candidates = [Candidate(perovskite(6.2 + i / 10), i, info={"energy": -100.0 + i}) for i in range(3)]
    candidates.append(Candidate(perovskite(7.0), 3, failure="stopped at rung 1: energy 0.1 eV above the best"))
    verdicts = [Verdict(i, "rank", None, i + 1.0) for i in range(3)]
    verdicts += [Verdict(i, "density", None, 4.2 - i / 10, "g/cm3") for i in range(3)]
    verdicts += [Verdict(i, "energy_above_best", None, i / 50, "eV per formula unit") for i in range(3)]
    shards = {"finished": 1, "total": 1}
    summary = {"identity": {"verb": "generate"}, "shards": shards, "table": count(candidates, verdicts)}
    write_report(folder / "report.html", summary, candidates, verdicts, {"candidates": 4, "seconds": {}})
    page = explorer_page(summary, candidates, verdicts)
    assert page is not None
    (folder / "explorer.html").write_text(page)


def column(browser: Browser, name: str) -> list[str]:
    """The texts of a column of the table of candidates, from the top down."""
    return browser.evaluate(
        f"""(() => {{
          const table = document.getElementById("overview");
          const at = Array.from(table.tHead.rows[0].cells, (c) => c.textContent).indexOf({name!r});
          return Array.from(table.tBodies[0].rows, (row) => row.cells[at].textContent);
        }})()"""
    )


def press_heading(browser: Browser, name: str) -> str:
    """Press Enter on a heading of the table of candidates; returns its aria-sort."""
    heading = f"[...document.querySelectorAll('#overview th')].find((cell) => cell.textContent === {name!r})"
    browser.evaluate(f"{heading}.querySelector('button').focus()")
    browser.press("Enter")
    return browser.evaluate(f"{heading}.getAttribute('aria-sort')")


def check_explorer(browser: Browser, structures: int, candidate: int) -> None:
    """explorer.html has drawn this many structures and shows the candidate of its address."""
    browser.wait("window.visualizer")
    assert browser.evaluate("document.getElementById('shown').textContent") == f"Candidate {candidate}"
    assert browser.evaluate(POINTS) == structures
    assert browser.evaluate(DRAWN) > 0.005
    assert browser.evaluate("document.getElementById('message').textContent") == ""


def test_molecules(tmp_path, browser):
    toy.run_toy(tmp_path / "run")
    browser.open(tmp_path / "run" / "report.html")
    strains = [float(text) for text in column(browser, "strain energy, toy (kcal/mol)") if text]
    assert press_heading(browser, "strain energy, toy (kcal/mol)") == "ascending"
    texts = column(browser, "strain energy, toy (kcal/mol)")
    assert [float(text) for text in texts[:8]] == sorted(strains) and texts[8:] == ["", ""]
    assert press_heading(browser, "strain energy, toy (kcal/mol)") == "descending"
    texts = column(browser, "strain energy, toy (kcal/mol)")
    assert [float(text) for text in texts[:8]] == sorted(strains, reverse=True) and texts[8:] == ["", ""]
    assert press_heading(browser, "formula") == "ascending"
    assert column(browser, "formula") == sorted(column(browser, "formula"), key=lambda text: (text == "", text))
    link = browser.evaluate("document.querySelector('#candidate-3 a').getAttribute('href')")
    assert link == "explorer.html#candidate-3"
    browser.open(tmp_path / "run" / "explorer.html", "#candidate-3")
    check_explorer(browser, structures=8, candidate=3)
    browser.evaluate("location.hash = '#candidate-6'")
    browser.wait("document.getElementById('shown').textContent === 'Candidate 6'")
    assert browser.evaluate("document.getElementById('back').getAttribute('href')") == "report.html#candidate-6"
    browser.evaluate("location.hash = '#candidate-4'")  # one that failed
    browser.wait("document.getElementById('message').textContent === 'candidate 4 has no structure on this page'")
    assert browser.requests == [] and browser.problems == []


def test_perovskites(tmp_path, browser):
    pages_of_perovskites(tmp_path)
    browser.open(tmp_path / "report.html")
    assert press_heading(browser, "rank") == "ascending" and press_heading(browser, "rank") == "descending"
    assert column(browser, "rank") == ["3", "2", "1", ""]
    assert browser.evaluate("document.querySelector('#candidate-3 a')") is None
    browser.open(tmp_path / "explorer.html")
    check_explorer(browser, structures=3, candidate=0)
    axes = browser.evaluate("(({ map }) => [map.x.property, map.y.property])(window.visualizer.saveSettings())")
    assert axes == ["density", "energy above best"]
    assert browser.evaluate("window.visualizer.saveSettings().structure[0].unitCell") is True
    assert browser.requests == [] and browser.problems == []
