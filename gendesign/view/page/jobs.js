// Runs: started, followed, cancelled, continued.
import { get, post } from "./api.js";
import * as gallery from "./gallery.js";
import { changed, refill, state, tried } from "./store.js";

const $ = (id) => document.getElementById(id);
const ENDED = ["finished", "cancelled", "failed", "interrupted"];

export const running = () => [...state.jobs.values()].find((job) => !ENDED.includes(job.state));

export function run(verb, targets = {}) {
  return tried(async () => {
    const job = await post("api/jobs", { verb, ...targets });
    if (!state.jobs.has(job.name)) state.jobs.set(job.name, job); // an event may have been faster
    Object.assign(state, { frames: null, watching: true });
    render();
    changed("jobs");
  });
}

export async function received(job) {
  const before = state.jobs.get(job.name);
  state.jobs.set(job.name, job);
  render();
  if (ENDED.includes(job.state) && before && !ENDED.includes(before.state)) {
    state.frames = null;
    await tried(async () => {
      await gallery.folders();
      if (state.watching) { await gallery.open(job.name); await gallery.showFirst(job.name); } else await gallery.refresh(job.name);
    });
    changed("frames");
  }
}

export function progressed({ job, seconds, ...progress }) {
  const known = state.jobs.get(job);
  if (known) { Object.assign(known, { seconds, progress }); render(); }
}

export function grew({ frames }) {
  state.frames = frames;
  state.framesSeen = (state.framesSeen || 0) + 1;
  changed("frames");
}

export async function results({ folder }) {
  await tried(async () => {
    const isNew = !state.folders.some((one) => one.name === folder);
    if (isNew) await gallery.folders();
    if (isNew && state.watching) await gallery.open(folder); else await gallery.refresh(folder);
    const job = state.jobs.get(folder);
    if (job && !ENDED.includes(job.state) && /generator=(amorphous|perovskite)/.test(job.command)) await watch(folder);
  });
}

// A quench or a search keeps its steps: the newest is shown.
async function watch(folder) {
  const { structure } = await get(`api/folders/${folder}/watch`);
  if (structure) { state.frames = [{ structure }]; changed("frames"); }
}

// The rows of runs are made once for each state: a button that is replaced while it is pressed is never clicked.
let drawn = "";
export function render() {
  const shown = [...state.jobs.values()].reverse().slice(0, 30);
  const key = JSON.stringify(shown.map((job) => [job.name, job.state, job.message, ENDED.includes(job.state) && job.seconds]));
  if (key !== drawn) { drawn = key; refill($("jobs"), shown.map(jobRow)); }
  for (const job of shown) if (job.state === "running") {
    const row = $("jobs").querySelector(`[data-job="${job.name}"]`), bar = row.querySelector("progress");
    Object.assign(bar, { max: job.progress.total || 1, value: job.progress.done || 0 });
    bar.nextSibling.textContent = ` ${job.progress.text || "starting"}, ${Math.round(job.seconds)} s`;
    row.querySelector("[data-act=watch]").hidden = state.watching;
  }
}

function jobRow(job) {
  const row = document.createElement("div"), name = document.createElement("b"), said = document.createElement("span"), acts = document.createElement("span");
  row.className = "job";
  row.dataset.state = job.state;
  row.dataset.job = job.name;
  name.textContent = job.name;
  said.className = "said";
  said.title = job.command;
  if (job.state === "running") {
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", `Progress of ${job.name}`);
    said.append(bar, "");
  } else said.textContent = [job.state, job.message, job.seconds ? `${Math.round(job.seconds)} s` : ""].filter(Boolean).join(", ");
  if (job.state === "running") acts.append(act("Watch", job, watchAgain));
  if (!ENDED.includes(job.state)) acts.append(act("Cancel", job, () => post(`api/jobs/${job.name}/cancel`)));
  else {
    if (job.state !== "finished") acts.append(act("Continue", job, () => post(`api/jobs/${job.name}/continue`)));
    acts.append(act("Open", job, async () => {
      if (!state.folders.some((one) => one.name === job.name)) throw new Error(`${job.name} has no results`);
      await gallery.open(job.name);
    }));
  }
  row.append(name, said, acts);
  return row;
}

function watchAgain() {
  state.watching = true;
  render();
  changed("frames");
}

function act(text, job, acts) {
  const made = Object.assign(document.createElement("button"), { textContent: text, className: "plain" });
  made.dataset.act = text.toLowerCase();
  made.setAttribute("aria-label", `${text} ${job.name}`);
  made.addEventListener("click", () => tried(acts));
  return made;
}
