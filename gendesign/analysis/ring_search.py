"""The compiled loops of the ring statistics. Graphs are given as starts and neighbours (see network.py).

All loops keep marks with the number of the current search, so that no array is cleared between searches.
"""

import numpy as np

from gendesign.analysis.compiled import compiled

MOST_PATHS = 4096  # shortest paths between two nodes that are followed


@compiled
def _shells(starts, neighbours, source, blocked, depth, mark, stamp, distance, queue):
    """Breadth-first search from `source` to `depth`, without node `blocked`; returns the number of nodes in `queue`."""
    mark[source] = stamp
    distance[source] = 0
    queue[0] = source
    head, tail = 0, 1
    while head < tail:
        node = queue[head]
        head += 1
        if distance[node] == depth:
            break
        for k in range(starts[node], starts[node + 1]):
            other = neighbours[k]
            if other != blocked and mark[other] != stamp:
                mark[other] = stamp
                distance[other] = distance[node] + 1
                queue[tail] = other
                tail += 1
    return tail


@compiled
def _reach(starts, neighbours, root, a, depth, mark, stamp, distance, queue):
    """Breadth-first search without `root` from its neighbour `a`, until all later neighbours are reached."""
    first, degree = starts[root], starts[root + 1] - starts[root]
    source = neighbours[first + a]
    mark[source] = stamp
    distance[source] = 0
    queue[0] = source
    head, tail, missing = 0, 1, degree - a - 1
    while head < tail and missing:
        node = queue[head]
        head += 1
        if distance[node] == depth:
            break
        for k in range(starts[node], starts[node + 1]):
            other = neighbours[k]
            if other != root and mark[other] != stamp:
                mark[other] = stamp
                distance[other] = distance[node] + 1
                queue[tail] = other
                tail += 1
                for b in range(a + 1, degree):
                    missing -= neighbours[first + b] == other


@compiled
def shortest_by_corner(starts, neighbours, corner_starts, longest):
    """Size of the shortest ring at every corner: node and a pair of its neighbours, in the order (0,1), (0,2), (1,2)...

    corner_starts (nodes + 1,): first corner of every node. 0 stands for a corner without a ring of up to `longest`.
    """
    n = len(starts) - 1
    size = np.zeros(corner_starts[n], dtype=np.int16)
    mark, distance = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int32)
    queue = np.empty(n, dtype=np.int32)
    stamp = 0
    for root in range(n):
        first, degree = starts[root], starts[root + 1] - starts[root]
        for a in range(degree - 1):
            _reach(starts, neighbours, root, a, longest - 2, mark, stamp, distance, queue)
            for b in range(a + 1, degree):
                other = neighbours[first + b]
                if mark[other] == stamp:
                    corner = corner_starts[root] + a * degree - a * (a + 1) // 2 + b - a - 1
                    size[corner] = distance[other] + 2
            stamp += 1
    return size


@compiled
def _corner(starts, neighbours, corner_starts, node, one, two):
    """The number of the corner at `node` between its neighbours `one` and `two`."""
    first, degree = starts[node], starts[node + 1] - starts[node]
    a, b = 0, 0
    for k in range(degree):
        if neighbours[first + k] == one:
            a = k
        if neighbours[first + k] == two:
            b = k
    if a > b:
        a, b = b, a
    return corner_starts[node] + a * degree - a * (a + 1) // 2 + b - a - 1


@compiled
def king_rings(starts, neighbours, corner_starts, size, roots, longest):
    """Distinct rings that are shortest at one of their corners (longest + 1,), by size, as King counts them.

    size: of `shortest_by_corner`. A ring is found at each of its corners where it is shortest, with a weight of one
    over their number.
    """
    n = len(starts) - 1
    count = np.zeros(longest + 1)
    mark, distance = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int32)
    queue = np.empty(n, dtype=np.int32)
    path = np.empty(longest + 1, dtype=np.int32)
    edge = np.empty(longest + 1, dtype=np.int64)
    stamp = 0
    for root in range(roots):
        first, degree = starts[root], starts[root + 1] - starts[root]
        for a in range(degree - 1):
            source = neighbours[first + a]
            _reach(starts, neighbours, root, a, longest - 2, mark, stamp, distance, queue)
            for b in range(a + 1, degree):
                target = neighbours[first + b]
                if mark[target] != stamp:
                    continue
                length = distance[target] + 2
                # depth-first from target to source along falling distances: every shortest path
                path[0] = root
                path[1] = target
                depth, edge[1] = 1, starts[target]
                while depth >= 1:
                    node = path[depth]
                    if node == source:
                        count[length] += _weight(starts, neighbours, corner_starts, size, path, length)
                        depth -= 1
                        continue
                    moved = False
                    for k in range(edge[depth], starts[node + 1]):
                        other = neighbours[k]
                        if other != root and mark[other] == stamp and distance[other] == distance[node] - 1:
                            edge[depth] = k + 1
                            depth += 1
                            path[depth], edge[depth] = other, starts[other]
                            moved = True
                            break
                    if not moved:
                        depth -= 1
            stamp += 1
    return count


@compiled
def _weight(starts, neighbours, corner_starts, size, path, length):
    """One over the number of corners of a ring at which it is shortest."""
    shortest = 0
    for k in range(length):
        before, after = path[(k - 1) % length], path[(k + 1) % length]
        shortest += size[_corner(starts, neighbours, corner_starts, path[k], before, after)] == length
    return 1.0 / max(1, shortest)


@compiled
def balls(starts, neighbours, radius):
    """Nodes within `radius` edges of every node, sorted: first entries (nodes + 1,), entries, and their distances."""
    n = len(starts) - 1
    mark, distance = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int32)
    queue = np.empty(n, dtype=np.int32)
    first = np.zeros(n + 1, dtype=np.int64)
    for node in range(n):
        first[node + 1] = first[node] + _shells(starts, neighbours, node, -1, radius, mark, node, distance, queue)
    entries, far = np.empty(first[n], dtype=np.int32), np.empty(first[n], dtype=np.int8)
    for node in range(n):
        found = _shells(starts, neighbours, node, -1, radius, mark, n + node, distance, queue)
        low = first[node]
        for k in range(found):  # insertion: np.sort would take half a minute to compile
            place = low + k
            while place > low and entries[place - 1] > queue[k]:
                entries[place] = entries[place - 1]
                place -= 1
            entries[place] = queue[k]
        for k in range(low, low + found):
            far[k] = distance[entries[k]]
    return first, entries, far


@compiled
def _within_ball(first, entries, far, one, two, depth):
    """Whether two nodes are at most `depth` edges apart, by the balls, whose radius is not exceeded by `depth`."""
    low, high = first[one], first[one + 1]
    while low < high:
        middle = (low + high) // 2
        if entries[middle] < two:
            low = middle + 1
        else:
            high = middle
    return low < first[one + 1] and entries[low] == two and far[low] <= depth


@compiled
def _within(starts, neighbours, first, entries, far, radius, one, two, depth):
    """Whether two nodes are at most `depth` edges apart; `entries` are the balls of `radius` edges.

    A path longer than the radius begins with a path from `two` to the surface of its ball, which is of `depth - radius`
    or less: every node of that ball is tried.
    """
    if depth <= radius:
        return _within_ball(first, entries, far, one, two, depth)
    for k in range(first[two], first[two + 1]):
        if far[k] <= depth - radius and _within_ball(first, entries, far, one, entries[k], radius):
            return True
    return False


@compiled
def primitive_rings(starts, neighbours, first, entries, far, radius, roots, longest):
    """Rings without a shortcut (longest + 1,), by size, each counted at its nodes among the first `roots`.

    A ring has a shortcut if two of its nodes are nearer in the network than along the ring (Franzblau 1991). Without
    repetitions (`roots` are all nodes) a ring is searched from its first node alone, and paths through earlier nodes
    are not followed. With them it is found at each of its nodes in the model, each time as one over its size. Second
    result: nodes with more than MOST_PATHS paths, whose rings are incomplete.
    """
    n = len(starts) - 1
    count = np.zeros(longest + 1)
    mark, distance = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int32)
    queue = np.empty(n, dtype=np.int32)
    half = longest // 2
    one = np.empty((MOST_PATHS, half + 1), dtype=np.int32)
    two = np.empty((MOST_PATHS, half + 1), dtype=np.int32)
    edge = np.empty(half + 1, dtype=np.int64)
    ring = np.empty(longest + 1, dtype=np.int32)
    overflow, whole = 0, roots == n
    for root in range(roots):
        least = root if whole else -1
        found = _shells(starts, neighbours, root, -1, half, mark, root, distance, queue)
        for at in range(1, found):
            node = queue[at]
            m = distance[node]
            if node < least or (m == half and 2 * m > longest):
                continue
            paths = _paths(starts, neighbours, mark, root, least, distance, node, one, edge)
            overflow += paths == MOST_PATHS
            if m >= 2:  # rings of an even number of nodes end in `node`
                for p in range(paths):
                    for q in range(p):
                        if _disjoint(one[p], one[q], m, 1):
                            _join(one[p], one[q], m, True, ring)
                            if _is_primitive(starts, neighbours, first, entries, far, radius, ring, 2 * m):
                                count[2 * m] += 1
            if 2 * m + 1 > longest or paths == 0:
                continue
            for k in range(starts[node], starts[node + 1]):  # rings of an odd number end in an edge
                other = neighbours[k]
                if other < node or mark[other] != root or distance[other] != m:
                    continue
                others = _paths(starts, neighbours, mark, root, least, distance, other, two, edge)
                for p in range(paths):
                    for q in range(others):
                        if _disjoint(one[p], two[q], m, 0):
                            _join(one[p], two[q], m, False, ring)
                            if _is_primitive(starts, neighbours, first, entries, far, radius, ring, 2 * m + 1):
                                count[2 * m + 1] += 1
    for size in range(1, longest + 1):
        if not whole:
            count[size] /= size
    return count, overflow


@compiled
def _paths(starts, neighbours, mark, stamp, least, distance, node, out, edge):
    """Shortest paths from `node` (first column) to the root (last) over nodes from `least` on, at most MOST_PATHS."""
    m = distance[node]
    found = 0
    path = np.empty(m + 1, dtype=np.int32)
    path[0], edge[0], depth = node, starts[node], 0
    while depth >= 0 and found < MOST_PATHS:
        at = path[depth]
        if depth == m:
            for k in range(m + 1):
                out[found, k] = path[k]
            found += 1
            depth -= 1
            continue
        moved = False
        for k in range(edge[depth], starts[at + 1]):
            other = neighbours[k]
            if other >= least and mark[other] == stamp and distance[other] == distance[at] - 1:
                edge[depth] = k + 1
                depth += 1
                path[depth], edge[depth] = other, starts[other]
                moved = True
                break
        if not moved:
            depth -= 1
    return found


@compiled
def _disjoint(one, two, m, begin):
    """Whether two paths to the root share nothing but it; `begin` 1: both begin at the same node."""
    same = 0
    for k in range(begin, m):  # at equal distance from the root only equal places can meet
        same += one[k] == two[k]
    return same == 0


@compiled
def _join(one, two, m, even, ring):
    """The nodes of a ring in order: down the first path to the root, up the second."""
    for k in range(m + 1):
        ring[k] = one[k]
    last = 1 if even else 0
    place = m + 1
    for k in range(m - 1, last - 1, -1):
        ring[place] = two[k]
        place += 1


@compiled
def _is_primitive(starts, neighbours, first, entries, far, radius, ring, length):
    """Whether no two opposite nodes of a ring have a shorter way through the network."""
    m = length // 2
    pairs = m if length % 2 == 0 else length
    for k in range(pairs):
        if _within(starts, neighbours, first, entries, far, radius, ring[k], ring[(k + m) % length], m - 1):
            return False
    return True
