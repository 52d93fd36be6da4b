// The 3D view: 3Dmol draws atoms, bonds and cells; a canvas above it draws what is edited.
import { bondsOf, SYMBOLS } from "./elements.js";
import { changed, place, posed, state } from "./store.js";
import { add, anyAcross, cross, dot, minus, spline, times, unit } from "./vectors.js";

const LARGE = 250; // atoms above which a host is drawn as lines
const LARGEST_SCALE = 70; // pixels per Angstrom to which a small molecule is enlarged
const BACKDROP = { light: "#ffffff", dark: "#101214" };
let viewer, overlay, host, drawn = [], fitted = false;
export const options = { polyhedra: true, hideH: false, cloud: [] };

export function start(element, canvas) {
  [host, overlay] = [element, canvas];
  viewer = window.$3Dmol.createViewer(element, { backgroundColor: backdrop(), orthographic: true, antialias: !drawnByProcessor(), disableFog: true });
  viewer.setViewChangeCallback(drawOverlay);
  new ResizeObserver(() => { viewer.resize(); drawOverlay(); }).observe(element);
  element.dataset.ready = "true";
}

// Without a GPU smooth edges cost ten times the picture (measured: 0.4 against 8 pictures a second of 1,000 atoms).
function drawnByProcessor() {
  const context = document.createElement("canvas").getContext("webgl2");
  const about = context && context.getExtension("WEBGL_debug_renderer_info");
  return Boolean(about) && /swiftshader|llvmpipe|software|basic render/i.test(context.getParameter(about.UNMASKED_RENDERER_WEBGL));
}

const backdrop = () => BACKDROP[document.documentElement.dataset.theme] || BACKDROP.light;
export function recolour() { viewer.setBackgroundColor(backdrop(), 1); drawOverlay(); }
export const picture = () => { viewer.render(); return viewer.pngURI(); };
export const atomsDrawn = () => drawn.reduce((sum, part) => sum + part.numbers.length, 0);
export const turn = (degrees, axis = "y") => { viewer.rotate(degrees, axis); };

export const grows = () => Boolean(state.frames && state.watching);

// All that is drawn of a part: its atoms, images across faces, and the corners of its cell.
function extent(part) {
  const corners = part.cell ? [0, 1, 2, 3, 4, 5, 6, 7].map((k) => corner(part.cell, k & 1, (k >> 1) & 1, k >> 2)) : [];
  return [...part.positions, ...(part.ghosts || []).map((ghost) => ghost.position), ...corners];
}

export function fit() {
  const points = drawn.flatMap(extent);
  points.push(...options.cloud, ...state.scene.strokes.flatMap((stroke) => stroke.points));
  if (points.length) centreOn(points); else viewer.setView([0, 0, 0, 0, 0, 0, 0, 1]);
  viewer.render();
  drawOverlay();
}

// 3Dmol fits to atoms alone: invisible ones stand in for what is drawn.
function centreOn(points) {
  const model = viewer.addModel();
  model.addAtoms(points.map(([x, y, z]) => ({ elem: "C", x, y, z, bonds: [], bondOrder: [] })));
  model.setStyle({}, {});
  viewer.zoomTo();
  viewer.removeModel(model);
  viewer.render(); // the projection is that of the last picture
  const { pixel, scale } = projection(), pixels = points.map(pixel);
  const extent = (k) => Math.max(...pixels.map((p) => p[k])) - Math.min(...pixels.map((p) => p[k])) + 1.6 * scale;
  viewer.zoom(Math.min((0.86 * host.clientWidth) / extent(0), (0.86 * host.clientHeight) / extent(1), LARGEST_SCALE / scale));
}

// What there is to draw: [{key, numbers, positions, bonds, ...}].
function parts() {
  const found = [];
  state.scene.structures.forEach((row, key) => {
    const structure = state.structures.get(row.file);
    if (row.visible && structure) {
      found.push({ ...structure, key, role: row.role, positions: structure.positions.map((p) => posed(row.pose, p)) });
    }
  });
  if (grows()) found.push(...growing(found.length > 0));
  else {
    if (state.shown) found.push({ ...state.shown, key: "shown" });
    if (state.compared) found.push({ ...state.compared, key: "compared" });
  }
  return found;
}

// The molecules that grow: beside each other, or the first alone where something else is in the scene.
function growing(alone) {
  const whole = state.frames.find((frame) => frame.structure); // of a search or a quench
  if (whole) return [{ ...whole.structure, key: "grows", grows: true }];
  const molecules = state.frames.flatMap((frame) => frame.molecules).sort((a, b) => a[0] - b[0]);
  let shift = 0;
  return molecules.slice(0, alone || options.cloud.length ? 1 : 12).map(([index, numbers, positions]) => {
    const xs = positions.map((p) => p[0]), low = Math.min(...xs), wide = Math.min(Math.max(...xs) - low, 30);
    const moved = positions.map(([x, y, z]) => [x + (shift ? shift - low : 0), y, z]);
    shift = (shift ? shift : low) + wide + 4;
    return { key: `grows ${index}`, numbers, positions: moved, bonds: bondsOf(numbers, moved), grows: true };
  });
}

export function draw() {
  drawn = parts();
  const view = viewer.getView();
  viewer.removeAllModels();
  viewer.removeAllShapes();
  for (const part of drawn) drawPart(part);
  host.dataset.atoms = atomsDrawn();
  host.dataset.growing = drawn.filter((part) => part.grows).length;
  if (!fitted && drawn.length) { fitted = true; fit(); } else { viewer.setView(view); viewer.render(); }
  drawOverlay();
}

export function refit() { fitted = false; }

function drawPart(part) {
  const model = viewer.addModel();
  const hidden = (k) => options.hideH && part.numbers[k] === 1;
  const atoms = part.numbers.map((number, k) => atom(number, part.positions[k], hidden(k)));
  const ghosts = (part.ghosts || []).map((ghost) => atom(ghost.number, ghost.position, false));
  for (const [i, j, order] of part.bonds || []) if (!hidden(i) && !hidden(j)) bond(atoms, i, j, order);
  const all = [...atoms, ...ghosts];
  (part.ghosts || []).forEach((ghost, k) => bond(all, ghost.to, atoms.length + k, 1));
  model.addAtoms(all.map((one, index) => ({ ...one, index, serial: index })));
  model.setStyle({}, style(part));
  model.setStyle({ properties: { hidden: true } }, {});
  if (ghosts.length) model.setStyle({ index: ghosts.map((_, k) => atoms.length + k) }, { stick: { radius: 0.1, opacity: 0.55 }, sphere: { scale: 0.17, opacity: 0.55 } });
  if (part.cell) drawCell(part.cell);
  if (part.polyhedra && options.polyhedra) part.polyhedra.forEach(drawPolyhedron);
}

const atom = (number, [x, y, z], hidden) => ({ elem: SYMBOLS[number], x, y, z, bonds: [], bondOrder: [], properties: { hidden } });

function bond(atoms, i, j, order) {
  atoms[i].bonds.push(j); atoms[i].bondOrder.push(order);
  atoms[j].bonds.push(i); atoms[j].bondOrder.push(order);
}

function style(part) {
  const large = part.numbers.length > LARGE, dark = document.documentElement.dataset.theme === "dark";
  const colours = { colorscheme: { prop: "elem", map: { ...window.$3Dmol.elementColors.Jmol, C: carbon(part, dark) } } };
  // behind the molecule that holds them too, fragments are thin
  if (part.role === "fragment" && (state.shown || grows())) return { stick: { ...colours, radius: 0.06 } };
  if (part.role === "host" && large) return { line: { ...colours, linewidth: 1 } };
  if (part.numbers.length > 3000) return { line: colours };
  if (part.cell) return { stick: { ...colours, radius: 0.1 }, sphere: { ...colours, scale: 0.24 } };
  return { stick: { ...colours, radius: part.role === "host" ? 0.08 : 0.13 }, sphere: { ...colours, scale: 0.22 } };
}

function carbon(part, dark) {
  if (part.key === "compared") return 0xd08a2e;
  if (part.role === "fragment") return 0x2f8f6b;
  if (part.role === "host") return dark ? 0x7d8590 : 0xa9b0b8;
  if (part.grows || part.key === "shown") return dark ? 0x8fb7e6 : 0x3f6fa6;
  return dark ? 0xb5bac1 : 0x6b7178;
}

const corner = (cell, i, j, k) => add(add(times(cell[0], i), times(cell[1], j)), times(cell[2], k));

function drawCell(cell) {
  const point = (i, j, k) => corner(cell, i, j, k);
  for (const [i, j] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
    for (const [a, b] of [[point(0, i, j), point(1, i, j)], [point(i, 0, j), point(i, 1, j)], [point(i, j, 0), point(i, j, 1)]]) {
      viewer.addLine({ start: vector(a), end: vector(b), color: "#7d8894" });
    }
  }
}

function drawPolyhedron({ corners, triangles }) {
  const inside = times(corners.reduce(add, [0, 0, 0]), 1 / corners.length);
  const vertexArr = [], normalArr = [], faceArr = [];
  for (let [a, b, c] of triangles) {
    let normal = unit(cross(minus(corners[b], corners[a]), minus(corners[c], corners[a])));
    if (dot(normal, minus(corners[a], inside)) < 0) { [b, c] = [c, b]; normal = times(normal, -1); }
    for (const k of [a, b, c]) { faceArr.push(vertexArr.length); vertexArr.push(vector(corners[k])); normalArr.push(vector(normal)); }
  }
  viewer.addCustom({ vertexArr, normalArr, faceArr, color: "#7aa0c8", opacity: 0.5 });
}

const vector = ([x, y, z]) => ({ x, y, z });

// The projection is orthographic, so that it is known from four points.
export function projection() {
  const box = viewer.getCanvas().getBoundingClientRect();
  const [o, x, y, z] = viewer.modelToScreen([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]].map(vector));
  const origin = [o.x - box.left - window.scrollX, o.y - box.top - window.scrollY];
  const right = [x.x - o.x, y.x - o.x, z.x - o.x], down = [x.y - o.y, y.y - o.y, z.y - o.y];
  const scale = Math.hypot(...right) || 1; // pixels per Angstrom
  const axes = { right: times(right, 1 / scale), down: times(down, 1 / scale) };
  axes.eye = unit(cross(axes.right, times(axes.down, -1)));
  return {
    scale, ...axes,
    pixel: (p) => [origin[0] + dot(right, p), origin[1] + dot(down, p)],
    depth: (p) => dot(axes.eye, p),
    // the point under a pixel at the depth of another point, and on a plane
    beside: (p, [px, py]) => {
      const [sx, sy] = [origin[0] + dot(right, p), origin[1] + dot(down, p)];
      return add(p, add(times(axes.right, (px - sx) / scale), times(axes.down, (py - sy) / scale)));
    },
    onPlane(pixel, { origin: at, normal }) {
      const near = this.beside(at, pixel), slope = dot(axes.eye, normal);
      return Math.abs(slope) < 0.08 ? near : add(near, times(axes.eye, dot(minus(at, near), normal) / slope));
    },
  };
}

export function allVisible(key) {
  const project = projection(), part = drawn.find((one) => one.key === key);
  return !part || extent(part).every((p) => {
    const [x, y] = project.pixel(p);
    return x > 8 && y > 8 && x < host.clientWidth - 8 && y < host.clientHeight - 8;
  });
}

// The atom under a pixel, the nearest to the eye: [key, number] or null.
export function atomAt(pixel, within = 12) {
  const project = projection();
  let best = null, front = -Infinity;
  for (const part of drawn) {
    if (part.grows || part.key === "compared") continue;
    part.positions.forEach((p, k) => {
      if (options.hideH && part.numbers[k] === 1) return;
      const [x, y] = project.pixel(p);
      if (Math.hypot(x - pixel[0], y - pixel[1]) < within && project.depth(p) > front) [best, front] = [[part.key, k], project.depth(p)];
    });
  }
  return best;
}

// All atoms that can be selected, as [key, number].
export const selectable = () => drawn.filter((part) => !part.grows && part.key !== "compared").flatMap((part) => part.numbers.map((_, k) => [part.key, k]));

export function drawOverlay() {
  if (!state.scene || !viewer) return;
  const ratio = window.devicePixelRatio || 1, { clientWidth: w, clientHeight: h } = host;
  if (overlay.width !== w * ratio || overlay.height !== h * ratio) [overlay.width, overlay.height] = [w * ratio, h * ratio];
  const pen = overlay.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, w, h);
  const project = projection();
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  if (state.tool === "draw" || state.tool === "brush") drawPlane(pen, project);
  drawCloud(pen, project, ink);
  state.scene.strokes.forEach((stroke, number) => drawStroke(pen, project, stroke, number, ink));
  drawMarks(pen, project, ink);
}

function drawPlane(pen, project) {
  const { origin, normal } = state.scene.plane, [u, v] = anyAcross(unit(normal));
  pen.strokeStyle = "#8b95a055"; pen.lineWidth = 1;
  pen.beginPath();
  for (let k = -6; k <= 6; k += 2) {
    for (const [a, b] of [[u, v], [v, u]]) {
      pen.moveTo(...project.pixel(add(origin, add(times(a, k), times(b, -6)))));
      pen.lineTo(...project.pixel(add(origin, add(times(a, k), times(b, 6)))));
    }
  }
  pen.stroke();
}

function drawCloud(pen, project, ink) {
  pen.fillStyle = ink;
  pen.globalAlpha = 0.3;
  const size = Math.max(1.6, Math.min(5, project.scale * 0.11));
  for (const point of options.cloud) {
    const [x, y] = project.pixel(point);
    pen.beginPath(); pen.arc(x, y, size, 0, 7); pen.fill();
  }
  pen.globalAlpha = 1;
}

function drawStroke(pen, project, stroke, number, ink) {
  const active = number === state.stroke;
  if (stroke.type === "brush") {
    pen.fillStyle = ink; pen.globalAlpha = 0.1;
    for (const point of stroke.points) { pen.beginPath(); pen.arc(...project.pixel(point), stroke.radius * project.scale, 0, 7); pen.fill(); }
    pen.globalAlpha = 1;
    return;
  }
  pen.strokeStyle = ink; pen.lineWidth = active ? 2.5 : 1.5;
  pen.beginPath();
  spline(stroke.points, stroke.closed).forEach((point, k) => pen[k ? "lineTo" : "moveTo"](...project.pixel(point)));
  pen.stroke();
  if (state.tool !== "draw") return;
  stroke.points.forEach((point, k) => {
    const chosen = active && k === state.point;
    pen.beginPath(); pen.arc(...project.pixel(point), chosen ? 7 : 5, 0, 7);
    pen.fillStyle = chosen ? ink : "#ffffff"; pen.fill(); pen.stroke();
  });
}

function drawMarks(pen, project, ink) {
  const ring = (point, colour, size, dash = []) => {
    pen.strokeStyle = colour; pen.lineWidth = 2; pen.setLineDash(dash);
    pen.beginPath(); pen.arc(...project.pixel(point), size, 0, 7); pen.stroke(); pen.setLineDash([]);
  };
  state.scene.structures.forEach((row, key) => {
    if (!row.visible || !state.structures.has(row.file)) return;
    if (row.role === "fragment") row.attachments.forEach((k) => ring(place(key, k), "#2f8f6b", 10));
    row.fixed.forEach((k) => ring(place(key, k), "#8a6d3b", 8, [3, 3]));
  });
  const points = state.selected.map(([key, k]) => place(key, k));
  points.forEach((point) => ring(point, ink, 12));
  if (points.length > 1 && points.length <= 4) {
    pen.strokeStyle = ink; pen.lineWidth = 1.2; pen.setLineDash([5, 4]);
    pen.beginPath();
    points.forEach((point, k) => pen[k ? "lineTo" : "moveTo"](...project.pixel(point)));
    pen.stroke(); pen.setLineDash([]);
  }
}

export const select = (atoms) => { state.selected = atoms; changed("selection"); };
