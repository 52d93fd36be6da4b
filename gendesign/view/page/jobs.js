// Runs: started, followed, cancelled, continued.
import { get, post } from "./api.js";
import * as gallery from "./gallery.js";
import { changed, state, tried } from "./store.js";

const $ = (id) => document.getElementById(id);
const ENDED = ["finished", "cancelled", "failed", "interrupted"];

export const running = () => [...state.jobs.values()].find((job) => !ENDED.includes(job.state));

export function run(verb, targets = {}) {
  return tried(async () => {
    const job = await post("api/jobs", { verb, ...targets });
    if (!state.jobs.has(job.name)) state.jobs.set(job.name, job); // an event may have been faster
    state.frames = null;
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
    await tried(async () => { await gallery.folders(); await gallery.open(job.name); });
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
    if (!state.folders.some((one) => one.name === folder)) await gallery.folders();
    await gallery.open(folder);
    const job = state.jobs.get(folder);
    if (job && !ENDED.includes(job.state) && /generator=(amorphous|perovskite)/.test(job.command)) await watch(folder);
  });
}

// A quench or a search keeps its steps: the newest is shown.
async function watch(folder) {
  const { structure } = await get(`api/folders/${folder}/watch`);
  if (structure) { state.shown = structure; changed("shown"); }
}

export function render() {
  const rows = [...state.jobs.values()].reverse().slice(0, 30).map((job) => {
    const row = document.createElement("div"), name = document.createElement("b"), said = document.createElement("span"), acts = document.createElement("span");
    row.className = "job";
    row.dataset.state = job.state;
    row.dataset.job = job.name;
    name.textContent = job.name;
    said.className = "said";
    const active = !ENDED.includes(job.state);
    if (job.state === "running") {
      const bar = Object.assign(document.createElement("progress"), { max: job.progress.total || 1, value: job.progress.done || 0 });
      bar.setAttribute("aria-label", `Progress of ${job.name}`);
      said.append(bar, ` ${job.progress.text || "starting"}, ${Math.round(job.seconds)} s`);
    } else said.textContent = [job.state, job.message, job.seconds ? `${Math.round(job.seconds)} s` : ""].filter(Boolean).join(", ");
    said.title = job.command;
    acts.append(active ? act("Cancel", job, "cancel") : job.state === "finished" ? act("Open", job) : act("Continue", job, "continue"));
    row.append(name, said, acts);
    return row;
  });
  $("jobs").replaceChildren(...rows);
}

function act(text, job, verb) {
  const made = Object.assign(document.createElement("button"), { textContent: text, className: "plain" });
  made.setAttribute("aria-label", `${text} ${job.name}`);
  made.addEventListener("click", () => tried(() => (verb ? post(`api/jobs/${job.name}/${verb}`) : gallery.open(job.name))));
  return made;
}
