// What the page knows: the scene of the server, and what belongs to this tab alone.
import { get, post } from "./api.js";

export const state = {
  revision: 0, scene: null, undo: null, redo: null, jobs: new Map(), folders: [], potentials: [], given: [],
  structures: new Map(), // files of the scene by name
  selected: [], // atoms: [key of the drawn structure, number]
  tool: "select", stroke: null, point: null, // the stroke and the point that are edited
  frames: null, watching: true, // the molecules that grow, and whether they are shown rather than a candidate
  shown: null, compared: null, // structures of candidates
};

const listeners = new Set();
export const onChange = (listener) => listeners.add(listener);
export const changed = (what) => listeners.forEach((listener) => listener(what));

let complain = () => {};
export const onError = (handler) => { complain = handler; };

// Run something that asks the server; an error becomes a line on the page.
export async function tried(action) {
  try {
    return await action();
  } catch (error) {
    complain(error.message);
    if (error.status === 409 || error.refused) await reload().catch(() => {});
    return undefined;
  }
}

export async function receive(document) {
  if (document.revision < state.revision) return;
  Object.assign(state, { revision: document.revision, undo: document.undo, redo: document.redo });
  const files = state.scene ? state.scene.structures.map((row) => row.file) : [];
  state.scene = Object.assign(document.scene, ...pending);
  if (files.some((file, k) => file !== document.scene.structures[k]?.file)) state.selected = state.selected.filter(([key]) => key === "shown");
  const missing = document.scene.structures.filter((row) => !state.structures.has(row.file));
  await Promise.all(missing.map(async (row) => {
    state.structures.set(row.file, await get(`api/structures/${row.file}`));
  }));
  state.selected = state.selected.filter(([key, atom]) => {
    const structure = structureOf(key);
    return structure && atom < structure.numbers.length;
  });
  changed("scene");
}

export async function reload() {
  const document = await get("api/state");
  state.revision = 0;
  state.jobs = new Map(document.jobs.map((job) => [job.name, job]));
  Object.assign(state, { folders: document.folders, potentials: document.potentials, given: document.given, ready: document.ready });
  await receive(document);
  changed("jobs");
}

const pending = []; // changes that the server does not know yet: what it sends meanwhile must not take them back
let queue = Promise.resolve();
export const settled = () => !pending.length;

// Change keys of the scene here at once and on the server. Without a label it cannot be undone.
export function change(changes, label = "") {
  Object.assign(state.scene, changes);
  pending.push(changes);
  changed("edited");
  const base = state.revision;
  queue = queue.then(() => tried(async () => {
    let document;
    try {
      document = await post("api/scene", { changes, label, base: Math.max(base, state.revision) });
    } catch (error) {
      error.refused = true; // the page shows a change that is not kept
      throw error;
    } finally {
      pending.splice(pending.indexOf(changes), 1);
    }
    await receive(document);
  }));
  return queue;
}

// Replace the children of an element; the keyboard stays where it was, at the control of the same name.
export function refill(element, children) {
  const at = document.activeElement, name = element.contains(at) && at !== element && at.getAttribute("aria-label");
  element.replaceChildren(...children);
  if (name) [...element.querySelectorAll("[aria-label]")].find((one) => one.getAttribute("aria-label") === name)?.focus();
}

export const history = (direction) => tried(async () => receive(await post(`api/${direction}`)));

// Drawn structures have a key: the number of a structure of the scene, or "shown" for the candidate.
export function structureOf(key) {
  if (key === "shown") return state.shown;
  const row = state.scene.structures[key];
  return row && state.structures.get(row.file);
}

export function place(key, atom) {
  const position = structureOf(key).positions[atom];
  const row = state.scene.structures[key];
  return row ? posed(row.pose, position) : position;
}

export function posed({ r, t }, [x, y, z]) {
  return [r[0] * x + r[1] * y + r[2] * z + t[0], r[3] * x + r[4] * y + r[5] * z + t[1], r[6] * x + r[7] * y + r[8] * z + t[2]];
}

export function replaceStructure(number, changes, label) {
  const structures = state.scene.structures.map((row, k) => (k === number ? { ...row, ...changes } : row));
  return change({ structures }, label);
}
