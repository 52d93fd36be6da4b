// The lower panel: candidates of a results folder as cards, sorted by any check; downloads.
import { get, post } from "./api.js";
import { allVisible, fit, picture } from "./stage.js";
import { change, changed, refill, state, tried } from "./store.js";

const $ = (id) => document.getElementById(id);
let gallery = { rows: [], checks: {} }, comparing = false, folder = "", say = () => {};

export function start(message) {
  say = message;
  $("folder").addEventListener("change", () => open($("folder").value));
  $("sort").addEventListener("change", render);
  $("valid-only").addEventListener("change", render);
  $("compare").addEventListener("click", () => {
    comparing = !comparing;
    $("compare").setAttribute("aria-pressed", comparing);
    if (!comparing) { state.compared = null; changed("shown"); }
  });
  $("keep").addEventListener("click", keep);
  $("take").addEventListener("click", () => tried(async () => {
    if (!state.scene.shown) return say("click a candidate first");
    await post("api/take", { candidates: [state.scene.shown] });
    return change({ shown: null }, "");
  }));
  $("download").addEventListener("change", download);
  $("gallery").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    // by the scene, as the cards are drawn anew only when the server has answered
    const cards = [...$("gallery").children], at = ordered().findIndex(isShown);
    const next = cards[Math.max(0, Math.min(cards.length - 1, at + step))];
    if (next) { next.focus(); next.click(); }
    event.preventDefault();
  });
}

export async function folders() {
  const document_ = await get("api/state");
  state.folders = document_.folders;
  $("no-results").hidden = state.folders.length > 0;
  $("result-tools").hidden = !state.folders.length;
  $("folder").replaceChildren(...state.folders.map(({ name, title, path }) => Object.assign(new Option(title, name, false, name === folder), { title: path || name })));
  if (folder || !state.folders.length) return;
  await open(state.scene.shown ? state.scene.shown[0] : state.folders[0].name);
  const { structures, strokes, shown } = state.scene;
  if (!structures.length && !strokes.length && !shown) await showFirst(folder); // an empty view says nothing of a file
}

export async function open(name) {
  if (!state.folders.some((one) => one.name === name)) return;
  folder = name;
  $("folder").value = name;
  await refresh(name);
}

export async function refresh(name) {
  if (name !== folder) return;
  const content = await get(`api/folders/${name}`);
  if (name !== folder) return; // another one was opened meanwhile
  gallery = content;
  const chosen = $("sort").value;
  const names = { "": "number", valid: "valid first", energy: "energy", ...gallery.checks };
  $("sort").replaceChildren(...Object.entries(names).map(([value, text]) => new Option(text, value, false, value === chosen)));
  render();
}

function measure(row, name) {
  if (name === "valid") return row.valid ? 0 : 1;
  if (name === "energy") return row.energy;
  const check = row.checks[name];
  if (!check) return null;
  return check.value ?? (check.passed === null ? null : check.passed ? 0 : 1);
}

function ordered() {
  const name = $("sort").value, rows = gallery.rows.filter((row) => row.valid || !$("valid-only").checked);
  if (!name) return rows;
  return [...rows].sort((a, b) => {
    const [x, y] = [measure(a, name), measure(b, name)];
    return x === null ? (y === null ? 0 : 1) : y === null ? -1 : x - y || a.index - b.index;
  });
}

const isShown = (row) => state.scene.shown && state.scene.shown[0] === folder && state.scene.shown[1] === row.index;
const isChecked = (row) => Object.keys(row.checks).length > 0;
const isKept = (row) => state.scene.kept.some(([name, index]) => name === folder && index === row.index);

export function render() {
  const rows = ordered().slice(0, 300), all = gallery.rows.length, valid = gallery.rows.filter((row) => row.valid).length;
  $("count").textContent = !all ? "" : gallery.rows.some(isChecked) ? `${valid} of ${all} pass every check` : `${all}, not checked`;
  refill($("gallery"), rows.map(card));
  details();
}

// The first candidate of a folder, if that is open, that passes every check, or else that has atoms.
export async function showFirst(name) {
  if (name !== folder) return;
  const row = gallery.rows.find((one) => one.valid && one.atoms) || gallery.rows.find((one) => one.atoms);
  if (row && (!state.scene.shown || state.scene.shown[0] !== folder)) await change({ shown: [folder, row.index] }, "");
}

const pictures = new Map(); // of candidates, so that a gallery that is drawn again asks for none twice
function pictureOf(row) {
  const src = `api/folders/${folder}/${row.index}/picture.svg`, key = `${src} ${row.formula} ${row.smiles}`;
  if (!pictures.has(key)) pictures.set(key, Object.assign(new Image(), { src, alt: "", loading: "lazy" }));
  return pictures.get(key);
}

function card(row) {
  const made = document.createElement("button");
  made.className = "card";
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", isShown(row) ? "true" : "false");
  made.tabIndex = -1;
  made.setAttribute("aria-label", `Candidate ${row.index}, ${row.formula || "failed"}${row.reason ? `, ${row.reason}` : ", valid"}`);
  if (row.atoms) made.append(pictureOf(row));
  made.append(Object.assign(document.createElement("b"), { textContent: `${row.index}  ${row.formula}` }));
  const name = $("sort").value, chosen = name && name !== "valid", strain = row.checks.strain_gfn2?.value ?? row.checks.strain_potential?.value;
  const value = chosen ? measure(row, name) : strain, unit = !chosen ? "kcal/mol strain" : name === "energy" ? "eV" : row.checks[name]?.unit;
  if (value !== null && value !== undefined) made.append(line("value", `${number(value)} ${unit || ""}`));
  if (row.valid && isChecked(row)) made.append(line("value good", "passes every check"));
  if (row.reason) { made.append(line("reason", row.reason)); made.title = row.reason; }
  if (isKept(row)) made.append(line("star", "★"));
  made.addEventListener("click", () => pick(row));
  return made;
}

const line = (className, textContent) => Object.assign(document.createElement("div"), { className, textContent });
const number = (value) => (Math.abs(value) >= 1000 ? value.toFixed(1) : String(Number(value.toPrecision(4))));

async function pick(row) {
  state.watching = false; // what grows goes on behind it
  changed("jobs");
  if (!row.atoms) { await change({ shown: [folder, row.index] }, ""); return; }
  if (comparing && state.scene.shown) {
    state.compared = await tried(() => get(`api/folders/${folder}/${row.index}`));
    changed("shown");
    return;
  }
  await change({ shown: [folder, row.index] }, "");
}

// The candidate that the scene shows, loaded when another tab or this one has chosen it.
let loaded = "null", loadedFolder = "";
export async function follow() {
  const key = JSON.stringify(state.scene.shown);
  if (key === loaded) return;
  loaded = key;
  state.selected = state.selected.filter(([of]) => of !== "shown");
  state.shown = null;
  if (state.scene.shown) {
    const [name, index] = state.scene.shown;
    try { state.shown = await get(`api/folders/${name}/${index}`); } catch { state.shown = null; }
    if (!state.shown?.numbers.length) state.shown = null;
    if (key !== loaded) return; // another one was chosen meanwhile
  }
  changed("shown");
  const elsewhere = state.shown && state.scene.shown[0] !== loadedFolder;
  if (state.shown) loadedFolder = state.scene.shown[0];
  requestAnimationFrame(() => { if (state.shown && (elsewhere || !allVisible("shown"))) fit(); });
  render();
}

function details() {
  const row = gallery.rows.find(isShown);
  if (!row) { $("details").replaceChildren(); return; }
  const lines = Object.entries(row.checks).filter(([, check]) => check.sortable).map(([name, check]) => {
    const item = document.createElement("div"), label = document.createElement("span"), value = document.createElement("b");
    label.textContent = `${gallery.checks[name] || name} `;
    value.textContent = check.value !== null ? `${number(check.value)} ${check.unit}` : check.passed === null ? "–" : check.passed ? "yes" : "no";
    value.className = check.passed === null ? "" : check.passed ? "good" : "bad";
    item.title = check.reason;
    item.append(label, value);
    return item;
  });
  $("details").replaceChildren(...lines);
}

function keep() {
  const shown = state.scene.shown;
  if (!shown) return say("click a candidate first");
  const has = state.scene.kept.some(([name, index]) => name === shown[0] && index === shown[1]);
  const kept = has ? state.scene.kept.filter(([name, index]) => name !== shown[0] || index !== shown[1]) : [...state.scene.kept, shown];
  return change({ kept }, has ? "keep no longer" : "keep a candidate");
}

function download() {
  const kind = $("download").value;
  $("download").value = "";
  if (kind === "png") return save(picture(), "view.png");
  const one = kind.endsWith("1"), picked = one ? [state.scene.shown].filter(Boolean) : kind === "kept" ? state.scene.kept : null;
  if (picked && !picked.length) return say(one ? "click a candidate first" : "no candidate is kept yet");
  if (!picked && !folder) return say("there are no results yet");
  const form = kind === "kept" ? "zip" : kind.replace("1", "");
  const query = picked ? picked.map(([name, index]) => `c=${encodeURIComponent(`${name}:${index}`)}`).join("&") : `folder=${folder}`;
  return tried(async () => {
    const response = await fetch(`api/download.${form}?${query}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const address = URL.createObjectURL(await response.blob());
    save(address, `structures.${form}`);
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
}

function save(href, name) { Object.assign(document.createElement("a"), { href, download: name }).click(); }
