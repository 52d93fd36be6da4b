// Vectors and rotations as arrays, row by row.

export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const times = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const norm = (a) => Math.hypot(...a);
export const unit = (a) => times(a, 1 / (norm(a) || 1));
export const middle = (points) => times(points.reduce(add, [0, 0, 0]), 1 / Math.max(1, points.length));

export function about(axis, angle) {
  const [x, y, z] = unit(axis), c = Math.cos(angle), s = Math.sin(angle), d = 1 - c;
  return [c + x * x * d, x * y * d - z * s, x * z * d + y * s, y * x * d + z * s, c + y * y * d, y * z * d - x * s,
    z * x * d - y * s, z * y * d + x * s, c + z * z * d];
}

export const turned = (m, [x, y, z]) => [m[0] * x + m[1] * y + m[2] * z, m[3] * x + m[4] * y + m[5] * z, m[6] * x + m[7] * y + m[8] * z];

export function product(a, b) {
  const column = (k) => turned(a, [b[k], b[k + 3], b[k + 6]]);
  const [p, q, r] = [column(0), column(1), column(2)];
  return [p[0], q[0], r[0], p[1], q[1], r[1], p[2], q[2], r[2]];
}

export function anyAcross(normal) {
  const other = Math.abs(normal[0]) < 0.7 ? [1, 0, 0] : [0, 1, 0];
  const first = unit(cross(other, normal));
  return [first, unit(cross(normal, first))];
}

// Distance of two points, angle of three, dihedral of four (degrees).
export const distance = (a, b) => norm(minus(a, b));
export function angle(a, b, c) {
  const u = unit(minus(a, b)), v = unit(minus(c, b));
  return (Math.acos(Math.max(-1, Math.min(1, dot(u, v)))) * 180) / Math.PI;
}
export function dihedral(a, b, c, d) {
  const axis = unit(minus(c, b)), u = cross(minus(b, a), axis), v = cross(axis, minus(d, c));
  return (Math.atan2(dot(cross(u, v), axis), dot(u, v)) * 180) / Math.PI;
}

// The Catmull-Rom curve through points, as drawing.py has it.
export function spline(points, closed, pieces = 12) {
  if (points.length < 2) return points;
  closed = closed && points.length > 2;
  const n = points.length, at = (k) => closed ? points[(k + n) % n]
    : k < 0 ? minus(times(points[0], 2), points[1]) : k >= n ? minus(times(points[n - 1], 2), points[n - 2]) : points[k];
  const curve = [];
  for (let k = 0; k < (closed ? n : n - 1); k++) {
    const [a, b, c, d] = [at(k - 1), at(k), at(k + 1), at(k + 2)];
    for (let i = 0; i < pieces; i++) {
      const t = i / pieces;
      curve.push([0, 1, 2].map((x) => 0.5 * (2 * b[x] + (c[x] - a[x]) * t + (2 * a[x] - 5 * b[x] + 4 * c[x] - d[x]) * t * t
        + (3 * b[x] - a[x] - 3 * c[x] + d[x]) * t ** 3)));
    }
  }
  curve.push(closed ? points[0] : points[n - 1]);
  return curve;
}
