// From attention to anchors, from how much boxes stand out to proposals: what of regionedit.method.regions and
// .amortised is choice and no arithmetic on tensors.

const descending = values => (a, b) => values[b] - values[a] || a - b;         // equal ones stay in order
const range = n => Array.from({ length: n }, (_, i) => i);

// spread_anchors: highest attention first, none nearer than a fifth of the side to one already chosen
export function spreadAnchors(attention, gw, gh, size, k, share = .2) {
  const order = range(gw * gh).sort(descending(attention));
  const centres = order.map(i => [(i % gw + .5) * size / gw, (Math.floor(i / gw) + .5) * size / gh]);
  const near = centres.map(() => Infinity), chosen = [];
  for (let distance = share * size; chosen.length < k;) {
    const free = near.findIndex(d => d >= distance - 1e-6);
    if (free < 0) { distance /= 2; continue; }
    chosen.push(centres[free]);
    centres.forEach(([x, y], i) => { near[i] = Math.min(near[i], Math.hypot(x - centres[free][0], y - centres[free][1])); });
    near[free] = -1;
  }
  return chosen;
}

const boxOf = (cells, i) => cells.subarray(i * 4, i * 4 + 4);

function overlap(a, b) {        // in 32 bits, as torchvision's nms has it
  const w = Math.max(Math.min(a[2], b[2]) - Math.max(a[0], b[0]), 0), h = Math.max(Math.min(a[3], b[3]) - Math.max(a[1], b[1]), 0);
  return Math.fround(w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h));
}

function apart(pool, cells, most) {         // those of a pool, best first, that do not overlap a better one too much
  const left = [];
  for (const i of pool) if (left.every(j => !(overlap(boxOf(cells, i), boxOf(cells, j)) > most))) left.push(i);
  return left;
}

// fit_boxes, before the edges are sharpened: numbers of boxes, m for each anchor (x, y in cells)
export function fitBoxes(z, cells, anchors, m, most = .7) {
  const count = z.length, holds = (i, [x, y]) => cells[i * 4] <= x && cells[i * 4 + 1] <= y && x < cells[i * 4 + 2] && y < cells[i * 4 + 3];
  const best = anchors.map(at => range(count).filter(i => holds(i, at)).sort(descending(z)).slice(0, 300));
  const left = apart([...new Set(best.flat())].sort(descending(z)), cells, most);
  const rows = anchors.map(() => []), taken = new Set();
  for (let turn = 0; turn < m; turn++) anchors.forEach((at, k) => {
    const first = left.find(i => !taken.has(i) && holds(i, at));
    if (first !== undefined) { rows[k].push(first); taken.add(first); }
  });
  return rows.map((row, k) => {
    const own = row.length ? row : [best[k][0]];
    return [...own, ...Array(m).fill(own[0])].slice(0, m);
  });
}

// Boxes of an anchor, small ones first
export function bySize(boxes) {
  const area = boxes.map(b => (b[2] - b[0]) * (b[3] - b[1]));
  return range(boxes.length).sort((i, j) => area[i] - area[j] || i - j).map(i => boxes[i]);
}

// worth_editing: the box that each anchor prefers, the anchor of the largest share first, none twice
export function worthEditing(shares, logits, boxes) {
  const m = boxes[0].length, found = new Map();
  for (const k of range(shares.length).sort(descending(shares))) {
    const own = logits.subarray(k * m, k * m + m), box = boxes[k][own.indexOf(Math.max(...own))];
    if (!found.has(box.join())) found.set(box.join(), box);
  }
  return [...found.values()];
}
