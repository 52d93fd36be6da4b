// The left panel: structures with their roles, the shape, strokes, the drawing plane.
import { get, post, upload } from "./api.js";
import * as draw from "./draw.js";
import { options, projection, refit } from "./stage.js";
import { change, changed, place, refill, replaceStructure, settled, state, tried } from "./store.js";
import { about, add, anyAcross, cross, dot, middle, minus, times, turned, unit } from "./vectors.js";

const $ = (id) => document.getElementById(id);
const ROLES = { shown: "only shown", fragment: "fragment", host: "host to stay off", reference: "to resemble" };
const PRIORS = { none: "nothing: a free molecule", drawn: "what is drawn", circle: "a circle", heart: "a heart", line: "a line", shell: "a shell",
  torus: "a torus", gaussian: "a round cloud", anisotropic: "an ellipsoid" };
const PLANES = { xy: [0, 0, 1], xz: [0, -1, 0], yz: [1, 0, 0] };
let base = { origin: [0, 0, 0], normal: [0, 0, 1] };
let say = () => {};

export function start(message) {
  say = message;
  $("add").addEventListener("submit", (event) => {
    event.preventDefault();
    const smiles = $("smiles").value.trim();
    if (smiles) tried(async () => { await post("api/smiles", { smiles }); $("smiles").value = ""; refit(); });
  });
  $("file").addEventListener("change", () => { drop([...$("file").files]); $("file").value = ""; });
  $("prior").addEventListener("change", () => change({ prior: { kind: $("prior").value } }, "choose a shape"));
  document.querySelectorAll("[data-plane]").forEach((button) => button.addEventListener("click", () => setPlane(button.dataset.plane)));
  $("offset").addEventListener("input", tilt);
  $("turn").addEventListener("input", tilt);
  for (const name of ["radius", "density"]) $(name).addEventListener("input", () => {
    if ($(name).checkValidity()) draw.brush[name] = Number($(name).value);
  });
  $("clear").addEventListener("click", () => change({ structures: [], strokes: [], prior: { kind: "none" }, shown: null }, "clear the scene"));
  for (const kind of ["dragover", "dragleave", "drop"]) document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop") drop([...event.dataTransfer.files], event.dataTransfer.getData("text/plain"));
  });
}

async function drop(files, text) {
  for (const file of files) await tried(async () => {
    const found = await upload(file);
    refit();
    if (found.left_out) say(`${file.name}: ${found.left_out} structures are left out. ${found.notes.join("; ")}`);
    else if (found.kind !== "structures") say(`${file.name} is the shape now`);
  });
  if (!files.length && text) tried(() => post("api/smiles", { smiles: text.trim() }));
}

function setPlane(kind) {
  const atoms = state.selected.map(([key, atom]) => place(key, atom));
  if (kind === "view") base = { origin: state.scene.plane.origin, normal: projection().eye };
  else if (kind === "atoms") {
    if (atoms.length !== 1 && atoms.length < 3) return say("select one atom, or three, for the plane through them");
    const normal = atoms.length < 3 ? state.scene.plane.normal : unit(cross(minus(atoms[1], atoms[0]), minus(atoms[2], atoms[0])));
    base = { origin: middle(atoms), normal };
  } else base = { origin: [0, 0, 0], normal: PLANES[kind] };
  $("offset").value = $("turn").value = 0;
  return change({ plane: base }, "");
}

function tilt() {
  const [axis] = anyAcross(unit(base.normal));
  const normal = turned(about(axis, (Number($("turn").value) * Math.PI) / 180), base.normal);
  change({ plane: { origin: add(base.origin, times(unit(normal), Number($("offset").value))), normal } }, "");
}

export function show() {
  const { scene } = state;
  fill($("structures"), scene.structures.map(structureRow), "None yet: type a SMILES, or drop a file.");
  const kinds = { ...PRIORS };
  if (scene.prior.kind === "file") kinds.file = `the file ${scene.prior.file}`;
  if (scene.prior.kind === "pocket") kinds.pocket = "a pocket of the host";
  $("prior").replaceChildren(...Object.entries(kinds).map(([value, text]) => new Option(text, value, false, value === scene.prior.kind)));
  fill($("strokes"), scene.strokes.map(strokeRow));
  $("brush").hidden = state.tool !== "brush";
  $("plane").hidden = state.tool !== "draw" && state.tool !== "brush";
}

function fill(list, rows, empty) {
  if (!rows.length && empty) {
    const item = document.createElement("li");
    item.className = "note";
    item.textContent = empty;
    rows = [item];
  }
  refill(list, rows);
}

export function button(text, label, act) {
  const made = Object.assign(document.createElement("button"), { textContent: text, className: "plain", title: label });
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function structureRow(row, number) {
  const item = document.createElement("li"), name = document.createElement("span"), role = document.createElement("select");
  const structure = state.structures.get(row.file);
  name.textContent = row.name;
  name.title = `${row.name}: ${structure ? structure.numbers.length : "?"} atoms`;
  for (const [value, text] of Object.entries(ROLES)) role.add(new Option(text, value, false, value === row.role));
  role.setAttribute("aria-label", `Role of ${row.name}`);
  role.addEventListener("change", () => replaceStructure(number, { role: role.value }, "change a role"));
  const eye = button(row.visible ? "◉" : "○", `${row.visible ? "Hide" : "Show"} ${row.name}`, () => replaceStructure(number, { visible: !row.visible }, "show or hide"));
  const remove = button("✕", `Remove ${row.name}`, () => { state.selected = []; change({ structures: state.scene.structures.filter((_, k) => k !== number) }, "remove a structure"); });
  item.append(name, eye, remove, role);
  const notes = [row.role === "fragment" && `${row.attachments.length} attachment${row.attachments.length === 1 ? "" : "s"}`, row.fixed.length && `${row.fixed.length} fixed`];
  const note = document.createElement("span");
  note.className = "note";
  note.textContent = notes.filter(Boolean).join(", ");
  item.append(note);
  return item;
}

function strokeRow(stroke, number) {
  const item = document.createElement("li"), name = document.createElement("span");
  name.textContent = stroke.type === "curve" ? `${stroke.closed ? "Closed curve" : "Curve"}, ${stroke.points.length} points` : `Brush, ${stroke.points.length} dabs`;
  const edit = stroke.type === "curve" ? button("✎", `Edit curve ${number + 1}`, () => { draw.setTool("draw"); [state.stroke, state.point] = [number, stroke.points.length - 1]; changed("selection"); }) : document.createElement("span");
  item.append(name, edit, button("✕", `Delete stroke ${number + 1}`, () => draw.removeStroke(number)));
  return item;
}

// The cloud of the prior, asked for anew when something that shapes it has changed.
let asked = "";
export async function updateCloud() {
  if (!settled()) return; // the server draws the cloud, and it is asked again when it knows the changes
  const { scene } = state;
  const key = JSON.stringify([scene.prior, scene.strokes, scene.settings.generate, scene.prior.kind === "pocket" && scene.structures]);
  if (key === asked) return;
  asked = key;
  if (scene.prior.kind === "none") { options.cloud = []; $("prior-note").textContent = ""; changed("cloud"); return; }
  try {
    const { points, n } = await get("api/prior");
    if (key !== asked) return;
    options.cloud = points;
    $("prior-note").textContent = points.length ? `For ${n} heavy atoms.` : "";
    $("prior-note").className = "note";
  } catch (error) {
    options.cloud = [];
    $("prior-note").textContent = error.message;
    $("prior-note").className = "error";
  }
  changed("cloud");
}

export function pocket() {
  const [first] = state.selected;
  if (!first || typeof first[0] !== "number") return say("select an atom of the ligand in the scene, then press Pocket");
  const row = state.scene.structures[first[0]];
  return change({ prior: { kind: "pocket", file: row.file, atom: first[1] } }, "choose a pocket");
}

export function attach() {
  const structures = state.scene.structures.map((row) => ({ ...row }));
  let count = 0;
  for (const [key, atom] of state.selected) if (typeof key === "number") {
    const row = structures[key], has = row.attachments.includes(atom);
    row.role = "fragment";
    row.attachments = has ? row.attachments.filter((k) => k !== atom) : [...row.attachments, atom];
    count++;
  }
  if (!count) { say("select atoms of structures in the scene, then press Attach"); return Promise.resolve(); }
  state.selected = [];
  return change({ structures }, "choose attachments");
}

export function fix() {
  const structures = state.scene.structures.map((row) => ({ ...row }));
  let count = 0;
  for (const [key, atom] of state.selected) if (typeof key === "number") {
    const row = structures[key];
    row.fixed = row.fixed.includes(atom) ? row.fixed.filter((k) => k !== atom) : [...row.fixed, atom];
    count++;
  }
  if (!count) return say("select atoms of structures in the scene, then press Fix");
  state.selected = [];
  return change({ structures }, "fix atoms");
}

export async function link() {
  const keys = new Set(state.selected.map(([key]) => key));
  if (state.selected.length < 2 || [...keys].some((key) => typeof key !== "number")) {
    say("select an atom of each fragment in the scene, then press Link");
    return false;
  }
  const structures = state.scene.structures.map((row, key) => !keys.has(key) ? row : {
    ...row, role: "fragment", attachments: state.selected.filter(([of]) => of === key).map(([, atom]) => atom),
  });
  state.selected = [];
  await change({ structures }, "link fragments");
  return true;
}
