"""The page in headless Chromium: drawn, selected, generated, watched and kept, as a person would do it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, chromium
from served import PATIENCE, Served

pytest.importorskip("starlette", reason="the extra [view] is not installed")
from gendesign.view.app import LIBRARY, PAGE

pytestmark = [
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt install chromium)"),
    pytest.mark.skipif(not LIBRARY.is_file(), reason="the page is not built: run `make view`"),
]
STATE = "window.gendesign.state"
WIDTH, HEIGHT = 1280, 720
# Controls without a name that a screen reader would say, and those that the keyboard does not reach.
NAMELESS = """[...document.querySelectorAll("button, input, select, [role=listbox], [tabindex='0']")].filter((one) => !(
  one.getAttribute("aria-label") || one.textContent.trim() || one.closest("label") || (one.labels && one.labels.length)
)).map((one) => one.outerHTML.slice(0, 80))"""
# Where atoms of drawn structures are in the window: [key, atom] -> pixels.
PIXEL = """(() => {{
  const box = document.getElementById("stage").getBoundingClientRect();
  const row = {state}.scene.structures[{key}], at = {state}.structures.get(row.file).positions[{atom}];
  const [x, y] = window.gendesign.stage.projection().pixel(at);
  return [x + box.left, y + box.top];
}})()"""
# Share of the pixels of the 3D picture that differ from its corner.
INKED = """(async () => {
  const image = new Image();
  image.src = window.gendesign.stage.picture();
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const pixels = new Uint32Array(pen.getImageData(0, 0, image.width, image.height).data.buffer);
  return pixels.filter((pixel) => pixel !== pixels[0]).length / pixels.length;
})()"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="module")
def page(server: Served, tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium"), (WIDTH, HEIGHT)) as browser:
        browser.visit(server.address)
        browser.wait("document.body.dataset.started")
        yield browser
        foreign = [address for address in browser.requests if not address.startswith(server.base)]
        assert not foreign and not browser.problems


def press(page: Browser, selector: str) -> None:
    """Click a control by its selector; it must be there and enabled."""
    page.wait(f"document.querySelector({selector!r}) && !document.querySelector({selector!r}).disabled")
    page.evaluate(f"document.querySelector({selector!r}).click()")


def choose(page: Browser, selector: str, value: str) -> None:
    """Give a field a value, as typing or choosing does."""
    page.evaluate(
        f"(() => {{ const field = document.querySelector({selector!r}); field.value = {value!r};"
        " field.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def strokes(page: Browser) -> list[dict[str, Any]]:
    return page.evaluate(f"{STATE}.scene.strokes")


def test_the_page_starts_small_and_every_control_has_a_name(page: Browser) -> None:
    page.wait("document.querySelectorAll('#form .setting').length > 40")
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.getElementById('set n').value") == "2"  # of the command line
    assert "(from 1)" in page.evaluate("document.getElementById('help-n').textContent")
    size = sum(path.stat().st_size for path in PAGE.rglob("*") if path.is_file())
    assert size < 1.5e6


def test_a_curve_is_drawn_changed_and_undone(page: Browser) -> None:
    page.press("d")
    page.wait(f"{STATE}.tool === 'draw'")
    for number, (x, y) in enumerate([(450, 300), (560, 250), (670, 330)], start=1):
        page.click(x, y)
        page.wait(f"{STATE}.scene.strokes[0] && {STATE}.scene.strokes[0].points.length === {number} && {STATE}.undo")
    first = strokes(page)[0]["points"]
    page.click(670, 330, to=(690, 420))  # the last point is dragged
    page.wait(f"{STATE}.undo === 'move a point'")
    moved = strokes(page)[0]["points"]
    assert moved[:2] == first[:2] and moved[2][1] < first[2][1] - 1  # downwards by more than an Angstrom
    page.click(505, 275)  # on the line between the first two
    page.wait(f"{STATE}.undo === 'insert a point'")
    inserted = strokes(page)[0]["points"]
    assert len(inserted) == 4 and first[0][0] < inserted[1][0] < first[1][0]
    page.evaluate("document.getElementById('stage').focus()")
    page.press("ArrowRight")
    page.wait(f"{STATE}.undo === 'move a point'")
    page.press("Delete")
    page.wait(f"{STATE}.undo === 'delete a point'")
    assert strokes(page)[0]["points"] == moved
    press(page, "#close-curve")
    page.wait(f"{STATE}.scene.strokes[0].closed")
    page.press("z", modifiers=2)
    page.wait(f"!{STATE}.scene.strokes[0].closed")
    page.press("z", modifiers=2 + 8)
    page.wait(f"{STATE}.scene.strokes[0].closed")
    page.wait("window.gendesign.stage.options.cloud.length > 30")  # the prior, before it is used
    assert page.evaluate("document.getElementById('prior').value") == "drawn"
    assert "generator/prior=cloud" in page.evaluate("document.getElementById('command').textContent")


def test_the_brush_paints(page: Browser) -> None:
    press(page, "[data-tool=brush]")
    page.click(500, 430, to=(640, 430))
    page.wait(f"{STATE}.undo === 'paint'")
    assert strokes(page)[1]["type"] == "brush" and len(strokes(page)[1]["points"]) >= 2
    press(page, "#clear")
    page.wait(f"{STATE}.scene.strokes.length === 0 && !document.getElementById('welcome').hidden || {STATE}.tool")
    press(page, "[data-tool=select]")


def test_atoms_are_counted_measured_and_moved(page: Browser) -> None:
    page.evaluate("document.getElementById('smiles').value = 'O'")
    press(page, "#add button")
    page.wait("document.getElementById('stage').dataset.atoms === '3'")
    page.wait("document.getElementById('stage').clientWidth > 500")
    assert page.evaluate(INKED) > 0.005
    for atom in (0, 1):
        page.click(*page.evaluate(PIXEL.format(state=STATE, key=0, atom=atom)))
        page.wait(f"{STATE}.selected.length === {atom + 1}")
    said = page.evaluate("document.getElementById('measure').textContent")
    assert said.startswith("2 selected: O0") and 0.93 < float(said.split("distance")[1].split()[0]) < 1.01
    page.evaluate("document.getElementById('stage').focus()")
    page.press("ArrowRight")  # without a mouse: the next atom
    page.wait(f"{STATE}.selected.length === 1 && {STATE}.selected[0][1] === 2")
    page.press("ArrowLeft", modifiers=8)
    page.wait(f"{STATE}.selected.length === 2")
    press(page, "#attach")
    page.wait(
        f"{STATE}.scene.structures[0].role === 'fragment' && {STATE}.scene.structures[0].attachments.length === 2"
    )
    press(page, "[data-tool=move]")
    x, y = page.evaluate(PIXEL.format(state=STATE, key=0, atom=0))
    page.click(x, y, to=(x + 60, y))
    page.wait(f"{STATE}.undo === 'move a structure'")
    scale = page.evaluate("window.gendesign.stage.projection().scale")
    assert page.evaluate(f"{STATE}.scene.structures[0].pose.t[0]") == pytest.approx(60 / scale, rel=0.02)
    press(page, "#clear")
    page.wait(f"{STATE}.scene.structures.length === 0")
    press(page, "[data-tool=select]")


def test_molecules_are_seen_growing_and_sorted(page: Browser) -> None:
    choose(page, "#prior", "circle")
    page.wait("window.gendesign.stage.options.cloud.length > 10")
    page.wait(f"{STATE}.ready", PATIENCE)
    press(page, "#generate")
    page.wait("Number(document.getElementById('stage').dataset.growing) > 0", PATIENCE)
    page.wait(f"[...{STATE}.jobs.values()].every((job) => job.state === 'finished')", PATIENCE)
    page.wait("document.querySelectorAll('.card').length === 2")
    page.wait("document.querySelector('#jobs .said').textContent.startsWith('finished')")
    press(page, ".card")
    page.wait(f"{STATE}.shown")
    atoms = page.evaluate(f"{STATE}.shown.numbers.length")
    page.wait(f"document.getElementById('stage').dataset.atoms === '{atoms}'")
    assert page.evaluate(INKED) > 0.005
    page.wait("document.querySelectorAll('#sort option').length > 3")
    assert page.evaluate("document.querySelectorAll('#details div').length") >= 3
    values = (
        "[...document.querySelectorAll('.card .value:not(.good)')].map((one) => Number(one.textContent.split(' ')[0]))"
    )
    choose(page, "#sort", "shape")
    shapes = page.evaluate(values)
    assert len(shapes) == 2 and shapes == sorted(shapes)
    press(page, "#keep")
    page.wait("document.querySelector('.card .star')")
    press(page, "#take")
    page.wait(f"{STATE}.scene.structures.length === 1")


def test_another_tab_is_followed_and_a_reload_keeps_all(page: Browser, server: Served) -> None:
    server.ask("api/scene", {"changes": {"prior": {"kind": "heart"}}, "label": "from elsewhere"})
    page.wait("document.getElementById('prior').value === 'heart'")
    server.ask("api/scene", {"changes": {"settings": {"generate": {"n": "0"}}}, "label": "wrong"})
    page.wait("document.getElementById('settings-error').textContent.startsWith('n=0: give a whole number')")
    before = page.evaluate(f"JSON.stringify({STATE}.scene)")
    page.visit(server.address)
    page.wait("document.body.dataset.started")
    assert page.evaluate(f"JSON.stringify({STATE}.scene)") == before
    page.wait("document.querySelectorAll('.card').length === 2")
    assert "token" not in page.evaluate("location.href")


def test_dark_and_narrow(page: Browser, tmp_path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    press(page, "#theme")
    page.wait(f"{background} !== {light!r}")
    page.resize(390, 844)
    for part in ("view", "scene", "settings", "results"):
        press(page, f"[data-part={part}]")
        page.wait(f"document.getElementById({part!r}).clientHeight > 100")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, part
        assert len(page.screenshot(tmp_path / f"{part}.png")) > 5000
    page.resize(WIDTH, HEIGHT)


def test_a_button_of_a_run_is_clicked_though_its_progress_changes(page: Browser) -> None:
    page.evaluate(
        f"(() => {{ {STATE}.jobs.set('0999-generate', {{ name: '0999-generate', state: 'running', message: '',"
        " command: '', seconds: 1, progress: {} }); })()"
    )
    page.evaluate("window.gendesign.jobs.render()")
    page.evaluate("(window.held = document.querySelector('[data-job=\"0999-generate\"] [data-act=cancel]')).focus()")
    progress = {"job": "0999-generate", "seconds": 7, "text": "relaxing", "done": 1, "total": 2}
    page.evaluate(f"window.gendesign.jobs.progressed({progress})")
    assert "relaxing, 7 s" in page.evaluate("document.querySelector('[data-job=\"0999-generate\"]').textContent")
    assert page.evaluate("window.held.isConnected && document.activeElement === window.held")
    page.evaluate(f"{STATE}.jobs.delete('0999-generate') && window.gendesign.jobs.render()")


def test_the_keyboard_walks_through_the_cards_and_what_is_shown_stays_though_others_grow(page: Browser) -> None:
    shown = f"{STATE}.scene.shown && {STATE}.scene.shown[1]"
    page.evaluate("document.getElementById('gallery').focus()")
    for expected in (0, 1):
        page.press("ArrowRight")
        page.wait(f"{shown} === {expected}")
        page.wait("document.activeElement.className === 'card'")  # also when the cards were drawn anew
    page.wait(f"{STATE}.shown")
    frame = [{"sigma": 1, "molecules": [[0, [6] * 60, [[k, 0, 0] for k in range(60)]]]}]
    page.evaluate(f"window.gendesign.jobs.grew({{ frames: {frame} }})")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # drawn
    assert page.evaluate("document.getElementById('stage').dataset.growing") == "0"
    page.evaluate(f"{STATE}.watching = true; window.gendesign.jobs.grew({{ frames: {frame} }})")
    page.wait("document.getElementById('stage').dataset.growing === '1'")
    page.evaluate(f"{STATE}.frames = null")
