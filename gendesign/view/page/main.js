// Start of the page: the parts are connected, and every change is drawn.
import { listen, post } from "./api.js";
import * as draw from "./draw.js";
import * as gallery from "./gallery.js";
import * as jobs from "./jobs.js";
import * as panel from "./scenepanel.js";
import * as settings from "./settings.js";
import * as stage from "./stage.js";
import { SYMBOLS } from "./elements.js";
import { change, history, onChange, onError, place, receive, reload, state, structureOf, tried } from "./store.js";
import { angle, dihedral, distance } from "./vectors.js";

const $ = (id) => document.getElementById(id);
let silence = 0;

function say(text) {
  $("message").textContent = text;
  clearTimeout(silence);
  silence = setTimeout(() => { $("message").textContent = ""; }, 3000 + 60 * text.length);
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  try { localStorage.setItem("theme", name); } catch { /* a browser that keeps nothing */ }
}

// Structures that an action is for: of the selected atoms, else the candidate that is shown, else all of the scene.
function targets() {
  const keys = [...new Set(state.selected.map(([key]) => key))];
  if (keys.length) {
    const free = {};
    for (const [key, atom] of state.selected) (free[key] ||= []).push(atom);
    return { structures: keys.filter((key) => typeof key === "number"), candidates: keys.includes("shown") && state.scene.shown ? [state.scene.shown] : [], free };
  }
  if (state.scene.shown) return { candidates: [state.scene.shown] };
  return { structures: state.scene.structures.map((_, key) => key) };
}

function hydrogenate() {
  const keys = [...new Set(state.selected.map(([key]) => key))].filter((key) => typeof key === "number");
  if (!keys.length && !state.scene.structures.length) return say("add a structure, or press Continue from it on a candidate");
  return tried(async () => {
    for (const key of keys.length ? keys : state.scene.structures.map((_, k) => k)) {
      await post("api/hydrogenate", { structure: key, atoms: state.selected.filter(([of]) => of === key).map(([, atom]) => atom) });
    }
    stage.select([]);
  });
}

const relax = () => jobs.run("relax", targets());
const screening = (extra = {}) => jobs.run("screen", { ...targets(), free: {}, ...extra });
const validate = () => screening({ settings: { "screening.checks": "[validity,strain]", "screening.strain_methods": "[gfn2]" } });
const generate = () => jobs.run("generate");
const link = async () => { if (await panel.link()) await generate(); };

const ACTIONS = {
  generate, hydrogenate, relax, link, validate, screen: () => screening(),
  undo: () => history("undo"), redo: () => history("redo"),
  theme: () => { theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"); stage.recolour(); stage.draw(); },
  fit: stage.fit, attach: panel.attach, fix: panel.fix, pocket: panel.pocket, "close-curve": draw.closeCurve,
};

const KEYS = { g: "generate", a: "attach", f: "fix", c: "close-curve", 0: "fit" };
const TOOLS = { s: "select", d: "draw", b: "brush", m: "move" };

function keyed(event) {
  if (event.target.closest("input, select, textarea")) return;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) {
    history(key === "y" || event.shiftKey ? "redo" : "undo");
    event.preventDefault();
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
    if (TOOLS[key]) draw.setTool(TOOLS[key]);
    else if (KEYS[key]) ACTIONS[KEYS[key]]();
    else if (key === "escape") stage.select([]);
  }
}

function measured() {
  const atoms = state.selected.filter(([key, atom]) => structureOf(key) && atom < structureOf(key).numbers.length);
  if (!atoms.length) return draw.hint();
  const points = atoms.map(([key, atom]) => place(key, atom));
  const names = atoms.slice(0, 6).map(([key, atom]) => `${SYMBOLS[structureOf(key).numbers[atom]]}${atom}`).join(" – ");
  const value = points.length === 2 ? `distance ${distance(...points).toFixed(3)} Å`
    : points.length === 3 ? `angle ${angle(...points).toFixed(1)}°`
      : points.length === 4 ? `dihedral ${dihedral(...points).toFixed(1)}°` : "";
  return [`${atoms.length} selected: ${names}${atoms.length > 6 ? " …" : ""}`, value].filter(Boolean).join("   ");
}

function refreshControls() {
  document.querySelectorAll("[data-tool]").forEach((button) => button.setAttribute("aria-pressed", button.dataset.tool === state.tool));
  $("undo").disabled = !state.undo;
  $("redo").disabled = !state.redo;
  $("undo").title = state.undo ? `Undo: ${state.undo} (Ctrl+Z)` : "Nothing to undo";
  $("redo").title = state.redo ? `Redo: ${state.redo} (Ctrl+Shift+Z)` : "Nothing to redo";
  const stroke = state.scene.strokes[state.stroke];
  $("close-curve").hidden = !(state.tool === "draw" && stroke && stroke.points.length > 2);
  $("close-curve").textContent = stroke && stroke.closed ? "Open curve" : "Close curve";
  $("welcome").hidden = state.scene.structures.length + state.scene.strokes.length > 0 || Boolean(state.shown || stage.grows())
    || state.scene.prior.kind !== "none" || state.tool === "draw" || state.tool === "brush" || Boolean(jobs.running());
  $("measure").textContent = measured();
  $("state").textContent = state.lost ? "The server does not answer" : state.ready ? "" : "Loading the potential…";
  $("stage").style.cursor = state.tool === "select" ? "default" : state.tool === "move" ? "grab" : "crosshair";
}

// The hydrogen that reaches farthest along x, or against it.
function facing({ numbers, positions }, sign) {
  const hydrogens = numbers.map((_, k) => k).filter((k) => numbers[k] === 1);
  return hydrogens.reduce((best, k) => (sign * positions[k][0] > sign * positions[best][0] ? k : best));
}

// A scene to begin with.
async function example(name) {
  if (name === "linker") {
    await post("api/smiles", { smiles: "c1ccccc1" });
    await post("api/smiles", { smiles: "c1ccncc1" });
    await reload(); // the stream of events may be behind the answers
    const structures = state.scene.structures.map((row, k) => ({
      ...row, role: "fragment", attachments: [facing(structureOf(k), k ? -1 : 1)], pose: { r: row.pose.r, t: [k ? 5 : -5, 0, 0] },
    }));
    stage.refit();
    return change({ structures }, "an example");
  }
  const settings = { ...state.scene.settings, generate: { ...state.scene.settings.generate, "generator.n_heavy_atoms": name === "heart" ? "30" : "24" } };
  return change({ prior: { kind: name === "heart" ? "heart" : "circle" }, settings }, "an example");
}

let frame = 0;
function redraw() {
  frame = frame || requestAnimationFrame(() => { frame = 0; stage.draw(); });
}

function update(what) {
  if (!state.scene) return;
  if (what === "edited") { panel.show(); redraw(); } // the server does not know it yet
  else if (what === "scene") { panel.show(); panel.updateCloud(); settings.update(); gallery.follow(); gallery.render(); redraw(); }
  else if (what === "jobs") { jobs.render(); redraw(); }
  else if (what === "tool") { panel.show(); stage.drawOverlay(); }
  else if (what === "selection") stage.drawOverlay();
  else if (what === "cloud") {
    stage.drawOverlay();
    // a shape that was chosen is brought into view; while something is drawn the view stays where it is
    if (state.scene.prior.kind !== "drawn" && !state.scene.structures.length && !stage.grows() && !state.shown) stage.fit();
  }
  else redraw();
  refreshControls();
}

async function begin() {
  let kept = null;
  try { kept = localStorage.getItem("theme"); } catch { /* as above */ }
  theme(kept || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  window.history.replaceState(null, "", location.pathname); // the token stays out of copied addresses
  onError(say);
  onChange(update);
  stage.start($("stage"), $("overlay"));
  for (const part of [panel, gallery]) part.start(say);
  draw.start($("stage"));
  settings.start();
  for (const [id, act] of Object.entries(ACTIONS)) $(id).addEventListener("click", act);
  document.querySelectorAll("[data-tool]").forEach((button) => button.addEventListener("click", () => draw.setTool(button.dataset.tool)));
  document.querySelectorAll("[data-example]").forEach((button) => button.addEventListener("click", () => tried(() => example(button.dataset.example))));
  $("polyhedra").addEventListener("change", () => { stage.options.polyhedra = $("polyhedra").checked; redraw(); });
  $("hide-h").addEventListener("change", () => { stage.options.hideH = $("hide-h").checked; redraw(); });
  document.querySelectorAll("#tabs button").forEach((button) => button.addEventListener("click", () => {
    document.querySelector("main").dataset.part = button.dataset.part;
    document.querySelectorAll("#tabs button").forEach((one) => one.setAttribute("aria-pressed", one === button));
  }));
  document.addEventListener("keydown", keyed);
  await reload();
  await tried(gallery.folders);
  listen({
    scene: receive, job: jobs.received, progress: jobs.progressed, frames: jobs.grew, results: jobs.results,
    ready: (ready) => { state.ready = ready; refreshControls(); },
  }, (lost) => {
    state.lost = lost;
    refreshControls();
    if (!lost) tried(async () => { await reload(); await gallery.folders(); }); // what was told before the stream was open
  });
  document.body.dataset.started = "true";
}

Object.assign(window, { gendesign: { state, stage, jobs } }); // for tests and for the curious
begin().catch((error) => say(error.message));
