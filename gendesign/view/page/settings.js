// The right panel: a form made from the settings themselves, and the command that it means.
import { get, post } from "./api.js";
import { button } from "./scenepanel.js";
import { change, state, tried } from "./store.js";

const $ = (id) => document.getElementById(id);
const WHAT = { simgen: "Molecules", perovskite: "Perovskites", amorphous: "Amorphous models", relax: "Relaxation", screen: "Screening" };
const STARTS = {
  simgen: { n: "4", shard_size: "1" },
  perovskite: { generator: "perovskite", n: "8", shard_size: "8" },
  amorphous: { generator: "amorphous", n: "1", shard_size: "1", "generator.n_atoms": "96", "generator.protocol": "quick" },
};
const HIDDEN = ["generator"];
let timer = 0, filter = "";

export const generator = () => (state.scene.settings.generate || {}).generator || "simgen";
export const verb = () => ($("verb").value === "relax" || $("verb").value === "screen" ? $("verb").value : "generate");

export function start() {
  for (const [value, text] of Object.entries(WHAT)) $("verb").add(new Option(text, value));
  $("verb").addEventListener("change", () => {
    const wanted = $("verb").value;
    if (!(wanted in STARTS) || wanted === generator()) return show();
    const { settings } = state.scene, was = generator();
    const kept = { ...settings, [`generate_${was}`]: settings.generate || {}, generate: settings[`generate_${wanted}`] || STARTS[wanted] };
    return change({ settings: kept }, `choose ${WHAT[wanted].toLowerCase()}`);
  });
  $("copy-command").addEventListener("click", () => copy("command"));
  $("copy-python").addEventListener("click", () => copy("python"));
}

let last = {};
async function copy(kind) {
  if (!last[kind]) return;
  await navigator.clipboard.writeText(last[kind]).catch(() => {});
  $(kind === "python" ? "copy-python" : "copy-command").textContent = "Copied";
  setTimeout(() => { $("copy-command").textContent = "Copy as command"; $("copy-python").textContent = "as Python"; }, 1200);
}

export function set(key, value) {
  const settings = { ...state.scene.settings }, of = { ...(settings[verb()] || {}) };
  if (value === null) delete of[key]; else of[key] = value;
  settings[verb()] = of;
  return change({ settings }, `set ${key}`);
}

// Ask for the form a moment after the last change.
export function update() {
  clearTimeout(timer);
  timer = setTimeout(() => tried(show), 60);
}

let shownFor = "";
async function show() {
  if (verb() === "generate") $("verb").value = generator();
  const form = await get(`api/settings/${verb()}`);
  const chosen = state.scene.settings[verb()] || {};
  const key = JSON.stringify([verb(), chosen, form.error]);
  if (key !== shownFor) { shownFor = key; render(form, chosen); }
  await showCommand(form.error);
}

async function showCommand(error) {
  $("settings-error").textContent = error;
  try {
    last = await post(`api/command/${verb()}`, verb() === "generate" ? {} : { candidates: state.scene.shown ? [state.scene.shown] : [], structures: state.scene.shown ? [] : state.scene.structures.map((_, k) => k) });
    $("command").textContent = last.command;
  } catch (problem) {
    last = {};
    $("command").textContent = "";
    if (!error) $("settings-error").textContent = problem.message;
  }
}

function render(form, chosen) {
  const focus = document.activeElement && document.activeElement.id;
  const open = $("form").querySelector("details")?.open, at = $("settings").scrollTop;
  const groups = form.groups.filter((group) => !HIDDEN.includes(group.key)).map((group) => groupRow(group, chosen));
  const main = form.rows.filter((row) => row.main || row.key in chosen), rest = form.rows.filter((row) => !main.includes(row));
  const details = document.createElement("details"), summary = document.createElement("summary"), search = document.createElement("input");
  summary.textContent = `All ${form.rows.length + groups.length} settings`;
  details.open = open || false;
  Object.assign(search, { type: "search", placeholder: "filter", value: filter, id: "filter" });
  search.setAttribute("aria-label", "Filter settings");
  const further = [...groups, ...rest.map((row) => settingRow(row, chosen))];
  const narrow = () => {
    filter = search.value;
    further.forEach((row) => { row.hidden = !row.textContent.toLowerCase().includes(filter.toLowerCase()); });
  };
  search.addEventListener("input", narrow);
  details.append(summary, search, ...further);
  $("form").replaceChildren(...main.map((row) => settingRow(row, chosen)), details);
  narrow();
  $("settings").scrollTop = at;
  if (focus && document.getElementById(focus)) document.getElementById(focus).focus();
  const wrong = form.error && form.error.split("=")[0];
  const field = wrong && document.getElementById(`set ${wrong}`);
  if (field) { field.setAttribute("aria-invalid", "true"); field.closest(".setting").append(Object.assign(document.createElement("span"), { className: "error", textContent: form.error })); }
}

function frame(key, input, help, chosen) {
  const row = document.createElement("div"), label = document.createElement("label"), text = document.createElement("small");
  row.className = "setting";
  Object.assign(label, { htmlFor: input.id, textContent: key.replace(/^(generator|relaxation|screening)\./, "").replaceAll("_", " ").replaceAll(".", " · "), title: key });
  Object.assign(text, { textContent: help, id: `help ${key}` });
  input.setAttribute("aria-describedby", text.id.replaceAll(" ", "-"));
  text.id = text.id.replaceAll(" ", "-");
  const reset = key in chosen ? button("↺", `Reset ${key}`, () => set(key, null)) : document.createElement("span");
  row.append(label, input, reset, text);
  return row;
}

function groupRow(group, chosen) {
  const input = document.createElement("select");
  input.id = `set ${group.key}`;
  for (const option of group.options) input.add(new Option(option, option, false, option === group.value));
  input.addEventListener("change", () => set(group.key, input.value));
  return frame(group.key, input, "chooses settings that belong together", chosen);
}

function settingRow(row, chosen) {
  const words = row.key === "potential" ? [...new Set([row.value, ...state.potentials])] : row.kind === "bool" ? ["true", "false"] : row.kind === "text" && !row.value.startsWith("[") ? row.allowed : [];
  const input = document.createElement(words.length ? "select" : "input");
  input.id = `set ${row.key}`;
  const value = chosen[row.key] ?? row.value;
  if (words.length) for (const word of new Set([value, ...words])) input.add(new Option(word, word, false, word === value));
  else {
    input.type = row.kind === "number" ? "number" : "text";
    if (row.kind === "number") Object.assign(input, { min: row.least ?? row.above ?? "", max: row.most ?? row.below ?? "", step: row.whole ? "1" : "any" });
    input.value = value === "null" || value === "[]" ? "" : value;
    if (value === "null" || value === "[]") input.placeholder = "none";
  }
  input.addEventListener("change", () => {
    const text = input.value.trim();
    set(row.key, text === "" || (text === row.value && !(row.key in chosen)) ? null : text);
  });
  return frame(row.key, input, row.help, chosen);
}
