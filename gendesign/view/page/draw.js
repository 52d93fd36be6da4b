// Pointer and keys in the view: selecting, curves, the brush, moving structures. What is not claimed here turns the view.
import { atomAt, drawOverlay, projection, select, selectable, turn } from "./stage.js";
import { change, changed, place, replaceStructure, state } from "./store.js";
import { about, add, minus, product, times, turned, unit } from "./vectors.js";

const NEAR = 11, STILL = 4, NUDGE = 0.2; // pixels, pixels, Angstrom
const HINTS = {
  select: "Click atoms to select them; two give a distance, three an angle, four a dihedral. Drag turns, wheel zooms.",
  draw: "Click sets a point on the plane or on an atom. Drag a point; click the line to insert; Delete removes; Enter ends.",
  brush: "Drag paints on the plane. Hold Alt to turn the view.",
  move: "Drag a structure to move it; with Shift it turns.",
};
let host, drag = null;
export const hint = () => HINTS[state.tool];
export const brush = { radius: 1.2, density: 2 };

export function start(element) {
  host = element;
  host.addEventListener("pointerdown", down, true);
  window.addEventListener("pointermove", moved, true);
  window.addEventListener("pointerup", up, true);
  window.addEventListener("pointercancel", up, true);
  for (const kind of ["mousedown", "touchstart"]) {
    host.addEventListener(kind, (event) => { if (drag && drag.claimed) event.stopPropagation(); }, { capture: true });
  }
  host.addEventListener("keydown", keyed);
}

export function setTool(tool) {
  state.tool = tool;
  if (tool !== "draw") [state.stroke, state.point] = [null, null];
  changed("tool");
}

const pixelOf = (event) => {
  const box = host.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
const strokes = () => state.scene.strokes;
const copied = () => strokes().map((stroke) => ({ ...stroke, points: stroke.points.map((p) => [...p]) }));
const save = (all, label) => {
  const rounded = all.map((stroke) => ({ ...stroke, points: stroke.points.map((p) => p.map((x) => Math.round(x * 1e3) / 1e3)) }));
  const kind = state.scene.prior.kind, prior = kind === "none" || kind === "drawn" ? { prior: { kind: rounded.length ? "drawn" : "none" } } : {};
  return change({ strokes: rounded, ...prior }, label);
};

function down(event) {
  if (event.button !== 0 || !state.scene || event.target.closest("button")) return;
  const pixel = pixelOf(event), project = projection();
  drag = { pixel, last: pixel, claimed: false, distance: 0, project };
  if (state.tool === "draw") {
    const handle = handleAt(pixel, project);
    if (handle) {
      [state.stroke, state.point] = handle;
      Object.assign(drag, { claimed: true, handle });
      changed("selection");
    }
  } else if (state.tool === "brush" && !event.altKey) {
    Object.assign(drag, { claimed: true, brush: [] });
    paint(pixel);
  } else if (state.tool === "move") {
    const hit = atomAt(pixel, 18);
    if (hit && typeof hit[0] === "number") {
      Object.assign(drag, { claimed: true, moving: hit[0], at: place(...hit), pose: state.scene.structures[hit[0]].pose });
    }
  }
}

function moved(event) {
  if (!drag) return;
  const pixel = pixelOf(event);
  drag.distance = Math.max(drag.distance, Math.hypot(pixel[0] - drag.pixel[0], pixel[1] - drag.pixel[1]));
  if (!drag.claimed) return;
  event.preventDefault();
  if (drag.handle) {
    const [stroke, point] = drag.handle, points = strokes()[stroke].points;
    points[point] = drag.project.beside(points[point], pixel);
    drawOverlay();
  } else if (drag.brush) {
    paint(pixel);
  } else if (drag.moving !== undefined) {
    state.scene.structures[drag.moving].pose = event.shiftKey ? turnedPose(pixel) : movedPose(pixel);
    changed("poses");
  }
  drag.last = pixel;
}

function up(event) {
  if (!drag) return;
  const done = drag, pixel = pixelOf(event), click = done.distance < STILL && event.type !== "pointercancel";
  drag = null;
  if (done.handle) {
    if (!click) save(copied(), "move a point");
    else drawOverlay();
  } else if (done.brush) {
    save(painted(done.brush), "paint");
  } else if (done.moving !== undefined) {
    const pose = state.scene.structures[done.moving].pose;
    state.scene.structures[done.moving].pose = done.pose;
    if (!click) replaceStructure(done.moving, { pose }, "move a structure");
  } else if (click && event.target.closest && event.target.closest("#stage")) {
    if (state.tool === "draw") addPoint(pixel);
    else if (state.tool === "select" || state.tool === "move") pick(pixel, event);
  }
}

function pick(pixel, event) {
  const hit = atomAt(pixel);
  if (!hit) { if (!event.shiftKey) select([]); return; }
  const same = ([key, atom]) => key === hit[0] && atom === hit[1];
  select(state.selected.some(same) ? state.selected.filter((one) => !same(one)) : [...state.selected, hit]);
}

function handleAt(pixel, project) {
  let best = null, nearest = NEAR;
  strokes().forEach((stroke, number) => {
    if (stroke.type !== "curve") return;
    stroke.points.forEach((point, k) => {
      const [x, y] = project.pixel(point), far = Math.hypot(x - pixel[0], y - pixel[1]);
      if (far < nearest) [best, nearest] = [[number, k], far];
    });
  });
  return best;
}

// The line between two points of the edited curve under a pixel: the number of the first of them.
function pieceAt(pixel, project, stroke) {
  const ends = stroke.points.map(project.pixel), n = ends.length;
  for (let k = 0; k < (stroke.closed ? n : n - 1); k++) {
    const [a, b] = [ends[k], ends[(k + 1) % n]], length = Math.hypot(b[0] - a[0], b[1] - a[1]);
    const t = ((pixel[0] - a[0]) * (b[0] - a[0]) + (pixel[1] - a[1]) * (b[1] - a[1])) / (length * length || 1);
    if (t > 0.12 && t < 0.88 && Math.hypot(a[0] + t * (b[0] - a[0]) - pixel[0], a[1] + t * (b[1] - a[1]) - pixel[1]) < 8) return k;
  }
  return null;
}

function addPoint(pixel) {
  const project = projection(), hit = atomAt(pixel);
  const all = copied();
  let current = state.stroke !== null && all[state.stroke] && all[state.stroke].type === "curve" ? all[state.stroke] : null;
  const piece = current && pieceAt(pixel, project, current);
  const point = hit ? place(...hit) : project.onPlane(pixel, state.scene.plane);
  put(all, current, piece, point);
}

function put(all, current, piece, point) {
  if (!current) {
    current = { type: "curve", closed: false, points: [] };
    all.push(current);
    state.stroke = all.length - 1;
  }
  const after = piece !== null && piece !== undefined ? piece : state.point ?? current.points.length - 1;
  const inserts = piece !== null && piece !== undefined;
  const where = inserts ? after + 1 : state.point === 0 && current.points.length > 1 ? 0 : current.points.length;
  current.points.splice(where, 0, point);
  state.point = where;
  save(all, inserts ? "insert a point" : "add a point");
}

function paint(pixel) {
  const point = projection().onPlane(pixel, state.scene.plane), hit = atomAt(pixel);
  const at = hit ? place(...hit) : point, points = drag.brush;
  const last = points.at(-1);
  if (last && Math.hypot(...minus(at, last)) < brush.radius * 0.6) return;
  points.push(at);
  state.scene.strokes = painted(points);
  drawOverlay();
}

// The strokes with the one that is being painted, also when the scene was loaded anew meanwhile.
const painted = (points) => [...strokes().filter((stroke) => stroke.points !== points), { type: "brush", points, ...brush }];

function movedPose(pixel) {
  const { pose, at, project, pixel: from } = drag;
  const shift = minus(project.beside(at, pixel), project.beside(at, from));
  return { r: pose.r, t: add(pose.t, shift) };
}

function turnedPose(pixel) {
  const { project, last, moving } = drag, pose = state.scene.structures[moving].pose;
  const [dx, dy] = [pixel[0] - last[0], pixel[1] - last[1]];
  const axis = add(times(project.down, -dx), times(project.right, dy)), size = Math.hypot(dx, dy);
  if (!size) return pose;
  const turn = about(unit(axis), size * 0.01);
  const structure = state.structures.get(state.scene.structures[moving].file);
  const centre = add(turned(pose.r, times(structure.positions.reduce(add, [0, 0, 0]), 1 / structure.positions.length)), pose.t);
  return { r: product(turn, pose.r), t: add(turned(turn, minus(pose.t, centre)), centre) };
}

export function closeCurve() {
  const all = copied(), stroke = all[state.stroke];
  if (!stroke) return;
  stroke.closed = !stroke.closed;
  save(all, stroke.closed ? "close a curve" : "open a curve");
}

export function endCurve() { [state.stroke, state.point] = [null, null]; changed("selection"); }

export function removeStroke(number) { save(copied().filter((_, k) => k !== number), "delete a stroke"); endCurve(); }

export function removePoint() {
  const all = copied(), stroke = all[state.stroke];
  if (!stroke || state.point === null) return;
  stroke.points.splice(state.point, 1);
  state.point = stroke.points.length ? Math.min(state.point, stroke.points.length - 1) : null;
  if (!stroke.points.length) { all.splice(state.stroke, 1); state.stroke = null; }
  save(all, "delete a point");
}

// A point without a mouse: beside the last one, or at the middle of the plane.
export function addByKey() {
  const all = copied(), current = state.stroke !== null ? all[state.stroke] : null;
  const project = projection(), from = current && current.points.at(-1);
  put(all, current, null, from ? add(from, times(project.right, 1.3)) : [...state.scene.plane.origin]);
}

// The next atom without a mouse; with `more` the others stay selected.
function step(by, more) {
  const atoms = selectable();
  if (!atoms.length) return;
  const last = state.selected.at(-1), at = last ? atoms.findIndex(([key, k]) => key === last[0] && k === last[1]) : by > 0 ? -1 : 0;
  const next = atoms[(at + by + atoms.length) % atoms.length];
  select(more ? [...state.selected.filter(([key, k]) => key !== next[0] || k !== next[1]), next] : [next]);
}

function keyed(event) {
  const project = projection(), size = event.shiftKey ? 5 * NUDGE : NUDGE;
  const steps = { ArrowLeft: times(project.right, -size), ArrowRight: times(project.right, size), ArrowUp: times(project.down, -size),
    ArrowDown: times(project.down, size), PageUp: times(project.eye, size), PageDown: times(project.eye, -size) };
  if (state.tool === "select" && event.key.startsWith("Arrow")) {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(event.key === "ArrowRight" ? 1 : -1, event.shiftKey);
    else turn(event.key === "ArrowUp" ? -10 : 10, "x");
    event.preventDefault();
  }
  if (state.tool !== "draw") return;
  if (steps[event.key] && state.stroke !== null && state.point !== null) {
    const all = copied(), points = all[state.stroke].points;
    points[state.point] = add(points[state.point], steps[event.key]);
    save(all, "move a point");
  } else if (event.key === "Insert" || event.key === " ") addByKey();
  else if (event.key === "Delete" || event.key === "Backspace") removePoint();
  else if (event.key === "Enter" || event.key === "Escape") endCurve();
  else return;
  event.preventDefault();
}
