// The explorer: everything that an edit was made of, drawn where the reader is.
// One ES module without imports. It has two parts: what is computed (no document needed, tested
// under node against Python) and what is drawn. Sums are rounded as PyTorch rounds float32, so
// that the order of two scores that differ in the last digit is the same in both.

const f32 = Math.fround;
export const TERMS = ['clip', 'dir', 'str'];
export const WEIGHTS = ['alpha', 'beta', 'source', 'clip', 'dir', 'str'];

// ------------------------------------------------------------------ what is computed

export function unpack(packed) {            // {dtype, shape, data} -> typed array
  const raw = atob(packed.data), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new { float32: Float32Array, int32: Int32Array }[packed.dtype](bytes.buffer);
}

export function openTable(bundle) {         // arrays of k * m, row by row
  if (bundle.kind === 'attention') return { k: 0, m: 1, boxes: [], index: [], chosen: [], anchors: [],
    candidates: [], valid: [], terms: {}, runs: {} };      // nothing was edited yet
  const [k, m] = bundle.index.shape, at = name => bundle[name] ? unpack(bundle[name]) : null;
  const t = { k, m, boxes: at('boxes'), index: at('index'), chosen: at('chosen'),
    anchors: at('anchors'), t2i: at('s_t2i'), i2i: at('s_i2i'), src: at('s_src'), terms: {} };
  for (const name of TERMS) t.terms[name] = unpack(bundle.terms[name]);
  t.painted = at('painted') ?? new Int32Array(k * m).fill(1);       // in full, not as a preview
  const asked = [...Object.values(t.terms), t.t2i, t.i2i, ...(t.src ? [t.src] : [])];
  t.valid = Uint8Array.from(t.index, (_, i) => asked.every(a => Number.isFinite(a[i])) ? 1 : 0);
  const flat = unpack(bundle.candidates);
  t.candidates = Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
  t.runs = {};
  for (const [name, p] of Object.entries(bundle.runs)) t.runs[name] = openRun(p);
  return t;
}

const openRun = packed =>               // what was chosen is most probable, or a draw
  ({ probabilities: unpack(packed), steps: packed.shape[0], chosen: unpack(packed.chosen) });

export function weightsOf(config) {
  return { alpha: config.alpha, beta: config.beta, source: config.source_weight,
    clip: config.lambda_clip, dir: config.lambda_dir, str: config.lambda_str,
    all: config.ranking === 'all' };
}

const evidence = (t, w, i) => t.src && w.source ? f32(f32(w.source) * t.src[i]) : 0;

// with ranking 'all' the score forgets no loss: direction and structure count against it
const against = (t, w, i) => w.all ? f32(f32(f32(w.dir) * t.terms.dir[i]) + f32(f32(w.str) * t.terms.str[i])) : 0;

export function losses(t, w) {      // LR eq. 3 less the evidence; NaN where nothing is known
  const out = new Float32Array(t.k * t.m).fill(NaN), { clip, dir, str } = t.terms;
  for (let i = 0; i < out.length; i++) if (t.valid[i]) {
    const two = f32(f32(f32(w.clip) * clip[i]) + f32(f32(w.dir) * dir[i]));
    out[i] = f32(f32(two + f32(f32(w.str) * str[i])) - evidence(t, w, i));
  }
  return out;
}

export function scoreAt(t, w, i) {  // LR eq. 7 and the evidence
  const two = f32(f32(f32(w.alpha) * t.t2i[i]) + f32(f32(w.beta) * t.i2i[i]));
  return f32(f32(two + evidence(t, w, i)) - against(t, w, i));
}

export function choose(t, w, how) { // the proposal of each anchor: 'learned', or 'best' by loss
  if (how === 'learned') return t.chosen;
  const loss = losses(t, w), out = new Int32Array(t.k);
  for (let k = 0; k < t.k; k++) {
    let low = Infinity;
    for (let j = 0; j < t.m; j++) if (t.painted[k * t.m + j] && loss[k * t.m + j] < low) {
      low = loss[k * t.m + j]; out[k] = j;
    }
  }
  return out;
}

export function ranking(t, w, how) {    // candidates, best first; equal ones in anchor order
  const chosen = choose(t, w, how), found = [];
  for (let k = 0; k < t.k; k++) {
    const m = chosen[k], i = k * t.m + m;
    if (m >= 0 && t.valid[i] && t.painted[i]) found.push({ k, m, i, score: scoreAt(t, w, i) });
  }
  return found.sort((a, b) => b.score - a.score || a.k - b.k);
}

export function winnerMap(t, w, how, alphas, betas) {   // anchor that wins, rows of beta
  const entries = ranking(t, w, how).sort((a, b) => a.k - b.k), out = [];
  const extra = entries.map(e => evidence(t, w, e.i)), less = entries.map(e => against(t, w, e.i));
  for (const beta of betas) for (const alpha of alphas) {
    const a = f32(alpha), b = f32(beta);
    let top = -Infinity, who = -1;
    entries.forEach((e, n) => {
      const s = f32(f32(f32(f32(a * t.t2i[e.i]) + f32(b * t.i2i[e.i])) + extra[n]) - less[n]);
      if (s > top) { top = s; who = e.k; }
    });
    out.push(who);
  }
  return out;
}

// Along one weight, losses and scores are straight lines. Walk from crossing to crossing: where
// an anchor's lowest loss changes, its candidate does; between, the top of the score lines.
export function nextChange(t, w, how, name, sign, end) {    // {value, k, m}, or null
  const lines = name === 'source' ? t.src : TERMS.includes(name) ? t.terms[name] : null;
  const zero = { lossAt: new Float64Array(t.k * t.m), lossBy: new Float64Array(t.k * t.m) };
  for (let i = 0; i < t.k * t.m; i++) if (t.valid[i]) {
    for (const term of TERMS) zero.lossAt[i] += w[term] * t.terms[term][i];
    if (t.src) zero.lossAt[i] -= w.source * t.src[i];
    if (lines) zero.lossBy[i] = sign * (name === 'source' ? -lines[i] : lines[i]);
  }
  const { lossAt, lossBy } = zero, limit = Math.abs(end - w[name]);
  const by = { alpha: t.t2i, beta: t.i2i, source: t.src }[name], counts = w.all && ['dir', 'str'].includes(name);
  const slope = i => by ? sign * by[i] : counts ? -sign * lines[i] : 0;
  const height = i => w.alpha * t.t2i[i] + w.beta * t.i2i[i] + (t.src ? w.source * t.src[i] : 0)
    - (w.all ? w.dir * t.terms.dir[i] + w.str * t.terms.str[i] : 0);
  const chosen = Int32Array.from(choose(t, w, how));
  const usable = () => Array.from(chosen, (m, k) => ({ k, m, i: k * t.m + m }))
    .filter(e => e.m >= 0 && t.valid[e.i] && t.painted[e.i]);
  const top = d => usable().reduce((a, b) => {
    const gap = height(b.i) + slope(b.i) * d - height(a.i) - slope(a.i) * d;
    return gap > 1e-12 || (gap > -1e-12 && slope(b.i) > slope(a.i) + 1e-12) ? b : a;
  });
  if (!usable().length) return null;
  const first = ranking(t, w, how)[0];
  let winner = first, d = 0;
  for (let turn = 0; turn < 4 * t.k * t.m + 8; turn++) {
    let swap = null, flip = null;
    if (how !== 'learned' && lines) for (let k = 0; k < t.k; k++) {
      const now = k * t.m + chosen[k];
      for (let j = 0; j < t.m; j++) {
        const i = k * t.m + j;
        if (!t.valid[i] || !t.painted[i] || !(lossBy[i] < lossBy[now])) continue;
        const at = Math.max(d, (lossAt[i] - lossAt[now]) / (lossBy[now] - lossBy[i]));
        if (!swap || at < swap.at || (at === swap.at && lossBy[i] < swap.by))
          swap = { at, k, m: j, by: lossBy[i] };
      }
    }
    for (const e of usable()) if (slope(e.i) > slope(winner.i)) {
      const at = Math.max(d, (height(winner.i) - height(e.i)) / (slope(e.i) - slope(winner.i)));
      if (!flip || at < flip.at || (at === flip.at && slope(e.i) > slope(flip.i)))
        flip = { at, ...e };
    }
    if (flip && flip.at <= limit && (!swap || flip.at <= swap.at))
      return { value: w[name] + sign * flip.at, k: flip.k, m: flip.m };
    if (!swap || swap.at > limit) return null;
    d = swap.at;
    chosen[swap.k] = swap.m;
    winner = top(d);
    if (winner.k !== first.k || winner.m !== first.m)
      return { value: w[name] + sign * d, k: winner.k, m: winner.m };
  }
  return null;
}

export function filledLosses(t, w) {    // for expectations: the anchor's worst where unknown
  const loss = losses(t, w);
  for (let k = 0; k < t.k; k++) {
    const row = loss.subarray(k * t.m, (k + 1) * t.m), known = [...row].filter(Number.isFinite);
    const worst = known.length ? Math.max(...known) : 0;
    row.forEach((v, j) => { if (!Number.isFinite(v)) row[j] = worst; });
  }
  return loss;
}

export function learningCurve(t, run, w) {  // expected loss a step, over anchors that know any
  const loss = filledLosses(t, w), n = t.k * t.m, out = new Float64Array(run.steps);
  const known = [...Array(t.k).keys()].filter(k => t.valid.subarray(k * t.m, (k + 1) * t.m).includes(1));
  for (let s = 0; s < run.steps; s++) {
    for (const k of known) for (let j = 0; j < t.m; j++)
      out[s] += run.probabilities[s * n + k * t.m + j] * loss[k * t.m + j];
    out[s] /= known.length;
  }
  return out;
}

export function sureness(t, run) {      // mean over anchors of the highest probability, a step
  return Float64Array.from({ length: run.steps }, (_, s) => {
    let sum = 0;
    for (let k = 0; k < t.k; k++) {
      const row = (s * t.k + k) * t.m;
      sum += Math.max(...run.probabilities.subarray(row, row + t.m));
    }
    return sum / t.k;
  });
}

export function tableValues(t, w) {     // name -> k * m numbers; 'higher' says what is better
  const named = { loss: losses(t, w), ...t.terms, 'text similarity': t.t2i,
    'source similarity': t.i2i, ...(t.src ? { 'source in the box': t.src } : {}) };
  const score = new Float32Array(t.k * t.m).fill(NaN);
  for (let i = 0; i < score.length; i++) if (t.valid[i]) score[i] = scoreAt(t, w, i);
  named.score = score;
  const run = Object.values(t.runs)[0];
  if (run) named.probability = run.probabilities.subarray((run.steps - 1) * t.k * t.m);
  return named;
}
export const HIGHER = ['text similarity', 'source similarity', 'source in the box', 'score',
  'probability'];

export function best(values, name, from = 0, to = values.length) {
  const known = [...values.slice(from, to)].filter(Number.isFinite);
  if (!known.length) return NaN;
  return HIGHER.includes(name) ? Math.max(...known) : Math.min(...known);
}

export function scaled(map, kind) {     // attention -> 0..1: 'linear', 'log' or 'rank'
  const high = Math.max(...map), low = Math.min(...map);
  if (kind === 'rank') {
    const sorted = Float64Array.from(map).sort(), last = Math.max(map.length - 1, 1);
    const from = v => { let a = 0, b = sorted.length;
      while (a < b) { const c = (a + b) >> 1; if (sorted[c] < v) a = c + 1; else b = c; } return a; };
    const upTo = v => { let a = 0, b = sorted.length;
      while (a < b) { const c = (a + b) >> 1; if (sorted[c] <= v) a = c + 1; else b = c; } return a; };
    return Float64Array.from(map, v => (from(v) + upTo(v) - 1) / 2 / last);
  }
  if (kind === 'log') {
    const floor = Math.max(low, high * 1e-4), span = Math.log(high / floor) || 1;
    return Float64Array.from(map, v => Math.log(Math.max(v, floor) / floor) / span);
  }
  return Float64Array.from(map, v => (v - low) / ((high - low) || 1));
}

export function sink(map) {             // {share, at} where one patch holds over 30 %, or null
  let sum = 0, at = 0;
  map.forEach((v, i) => { sum += v; if (v > map[at]) at = i; });
  return map[at] / sum > .3 ? { share: map[at] / sum, at } : null;
}

const falling = map => Array.from(map, (_, i) => i).sort((a, b) => map[b] - map[a] || a - b);

export function massRegion(map, mass) { // the fewest patches that hold this share: 1 inside
  const sum = map.reduce((a, v) => a + v, 0), out = new Uint8Array(map.length);
  let held = 0;
  for (const i of falling(map)) {
    out[i] = 1; held += map[i];
    if (held / sum >= mass - 1e-9) break;
  }
  return out;
}

export function chooseAnchors(map, [gh, gw], rule, count, [w, h]) {     // points (x, y), pixels
  const centres = falling(map).map(i => [f32((i % gw + .5) * w / gw), f32((Math.floor(i / gw) + .5) * h / gh)]);
  if (rule === 'topk') return centres.slice(0, count);
  const nearest = centres.map(() => Infinity), found = [];  // 'spread': highest first, none too near
  for (let far = .2 * Math.min(w, h); found.length < Math.min(count, centres.length);) {
    const i = nearest.findIndex(d => d >= far - 1e-6);
    if (i < 0) { far /= 2; continue; }
    found.push(centres[i]);
    centres.forEach(([x, y], j) => {
      nearest[j] = Math.min(nearest[j], Math.hypot(x - centres[i][0], y - centres[i][1]));
    });
    nearest[i] = -1;
  }
  return found;
}

// ------------------------------------------------------------------ small tools of the page

const INFERNO = ['#000004', '#330a5f', '#781c6d', '#bb3754', '#ed6925', '#fcb519', '#fcffa4'];
const CIVIDIS = ['#00224e', '#35456c', '#666970', '#948e77', '#c8b866', '#fee838'];
const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
const RAMPS = { inferno: INFERNO.map(rgb), cividis: CIVIDIS.map(rgb) };
function ramp(name, share) {            // 0..1 -> [r, g, b]
  const stops = RAMPS[name], x = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(x), stops.length - 2);
  return stops[i].map((v, c) => Math.round(v + (stops[i + 1][c] - v) * (x - i)));
}
function inkOn([r, g, b]) {             // black or white, whichever is read more easily
  const lin = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  return .2126 * lin(r) + .7152 * lin(g) + .0722 * lin(b) > .179 ? '#000' : '#fff';
}
const num = (v, digits = 3) => Number.isFinite(v) ? v.toFixed(digits) : '–';
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);
const percent = v => `${Math.round(100 * v)} %`;

function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'class') node.className = value;
    else if (value === true) node.setAttribute(name, '');
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter(c => c != null));
  return node;
}

function tiles(ctx, colours, columns, x, y, width, height) {   // colours: [r, g, b, a], row by row
  const small = tiles.canvas ??= document.createElement('canvas');
  small.width = columns; small.height = colours.length / columns;
  const inner = small.getContext('2d'), image = inner.createImageData(small.width, small.height);
  colours.forEach((c, i) => image.data.set(c, 4 * i));
  inner.putImageData(image, 0, 0);
  ctx.save();
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(small, x, y, width, height);
  ctx.restore();
}

function surface(canvas, height) {      // a context in CSS pixels, as wide as its place
  const width = Math.max(canvas.parentElement.clientWidth, 40), dpr = devicePixelRatio || 1;
  const high = typeof height === 'function' ? height(width) : height;
  if (canvas.width !== Math.round(width * dpr) || canvas.height !== Math.round(high * dpr)) {
    canvas.width = Math.round(width * dpr); canvas.height = Math.round(high * dpr);
    canvas.style.width = `${width}px`; canvas.style.height = `${high}px`;
  }
  const ctx = canvas.getContext('2d');
  ctx.setTransform(dpr, 0, 0, dpr, 0, 0);
  ctx.clearRect(0, 0, width, high);
  ctx.font = '12px system-ui, sans-serif';
  return { ctx, width, height: high };
}

function themeOf(root) {                // 'dark' or 'light', as the host says, else the system
  for (let node = root; node; node = node.parentElement ?? node.getRootNode?.().host) {
    const said = node.getAttribute?.('data-theme') ?? node.getAttribute?.('data-bs-theme')
      ?? node.getAttribute?.('theme');
    if (node !== root && /dark/.test(said ?? '')) return 'dark';
    if (node !== root && /light/.test(said ?? '')) return 'light';
    const jupyter = node.getAttribute?.('data-jp-theme-light');
    if (jupyter) return jupyter === 'false' ? 'dark' : 'light';
    const code = node.getAttribute?.('data-vscode-theme-kind');
    if (code) return /dark|high-contrast$/.test(code) ? 'dark' : 'light';
    if (node.classList?.contains('quarto-dark')) return 'dark';
    if (node.classList?.contains('quarto-light')) return 'light';
  }
  return matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
}

// ------------------------------------------------------------------ the explorer

// A page and the model of its kernel meet by name, in whichever order they arrive (the widget's
// own few lines say the same).
const meet = globalThis.regioneditPages ??= { pages: new Map(), models: new Map() };

export function mount(host, bundle) {   // the page; its `close()` takes it away again
  return bundle.kind === 'study' ? new StudyPage(host, bundle) : new Explorer(host, bundle);
}

export function place(name, tries = 200) {      // in a page: the data stands beside its place
  const host = document.getElementById(name), data = document.getElementById(`${name}-data`);
  if (!host || !data) { if (tries) setTimeout(() => place(name, tries - 1), 50); return; }
  const page = mount(host, JSON.parse(data.textContent));
  meet.pages.set(name, new WeakRef(page));
  if (meet.models.has(name)) page.join(meet.models.get(name));
}

// Jupyter takes arrow keys and letters for its cells, unless the very element that has the focus
// says otherwise.
const OWN_KEYS = { onfocusin: e => e.target.setAttribute('data-lm-suppress-shortcuts', 'true') };

class Page {                            // what a kernel has to do with a page
  join(model) {
    this.part();
    this.model = model;
    this.heard = { 'change:status': () => this.hear(), 'change:bundle': () => this.merge(),
      'change:found': () => this.merge(), 'change:added': () => this.merge(true) };
    for (const [name, act] of Object.entries(this.heard)) model.on(name, act);
    this.merge(); this.hear();
  }

  part() {
    if (!this.model) return;
    for (const [name, act] of Object.entries(this.heard)) this.model.off(name, act);
    this.model = null; this.asked = 0;
    this.draw();
  }

  ask(message) {
    this.asked = Date.now();
    this.model.send(message);
    this.tick(); this.draw();
  }

  hear() { this.asked = 0; this.lastWord = Date.now(); this.tick(); this.draw(); }

  status() { return this.model?.get('status') ?? {}; }

  working() { return !!this.asked || this.status().state === 'works'; }

  tick() {                              // what is said of the time stays true
    clearInterval(this.ticking);
    if (this.working()) this.ticking = setInterval(() => {
      if (!this.working() || !this.root.isConnected) return clearInterval(this.ticking);
      this.draw();
    }, 1000);
  }

  why() {                               // why nothing can be asked, or ''
    return this.model ? this.status().why ?? ''
      : `No kernel is connected to this page. Run its cell in a notebook to ${this.wish}.`;
  }

  statusWords() {
    const { state, text } = this.status(), ago = t => Math.round((Date.now() - t) / 1000);
    if (this.asked) return ago(this.asked) < 2 ? 'Asked.'
      : `Asked ${ago(this.asked)} s ago; the kernel has not answered yet: it may be busy with another cell, or gone.`;
    if (state === 'works') return `${text} …` + (ago(this.lastWord) < 15 ? ''
      : ` No word for ${ago(this.lastWord)} s: the kernel may be busy, or gone.`);
    return state === 'failed' ? `Not done: ${text}` : text ?? '';
  }

  watch() {                             // a page that is taken off the screen lets go of it
    this.seen ??= new ResizeObserver(() => this.root.isConnected ? this.listen() : this.rest());
    this.seen.disconnect(); this.seen.observe(this.root);
  }

  listen() {
    if (!this.themes) {
      this.repaint = () => this.draw();
      this.themes = new MutationObserver(this.repaint);
      for (const node of [document.documentElement, document.body])
        this.themes.observe(node, { attributes: true });
      this.scheme = matchMedia('(prefers-color-scheme: dark)');
      this.scheme.addEventListener('change', this.repaint);
    }
    this.draw();
  }

  rest() {
    clearInterval(this.playing); clearInterval(this.ticking);
    this.playing = null;
    this.themes?.disconnect(); this.themes = null;
    this.scheme?.removeEventListener('change', this.repaint);
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.drawNow(); });
  }

  close() {
    cancelAnimationFrame(this.waiting);
    this.rest(); this.part(); this.seen.disconnect();
    cancelAnimationFrame(this.waiting);
    this.root.remove();
  }
}

class Explorer extends Page {
  constructor(host, bundle) {
    super();
    Object.assign(this, { host, all: [bundle], at: 0, wish: 'edit with boxes, anchors and words of your own' });
    this.open();
  }

  open(keep = {}) {                     // the bundle that is shown now
    const bundle = this.all[this.at], [w, h] = bundle.size, t = openTable(bundle);
    Object.assign(this, { b: bundle, t, pictures: new Map(), composed: new Map(), curvesOf: null, mean: null });
    const first = t.candidates[0] ?? [0, 0], run = Object.keys(t.runs)[0];
    this.s = { k: first[0], m: first[1], curtain: .5, view: 'result', outline: true,
      term: 'loss', scale: 'linear', layer: -1, head: -1, patch: -1, massed: false, mass: .6,
      run, step: run ? t.runs[run].steps - 1 : 0, whose: -1, against: '', whole: false,
      curves: 'probabilities', w: weightsOf(bundle.config), how: 'learned', turned: 'alpha', painter: 0,
      rule: t.k ? 'learned' : 'spread', anchors: [], grip: 0, tool: 'box', look: -1,
      own: bundle.looks.find(k => k.name === 'own')?.box ?? [w / 4, h / 4, 3 * w / 4, 3 * h / 4].map(Math.round), prompt: bundle.prompt, source: bundle.source };
    for (const [name, value] of Object.entries(bundle.start ?? {}))
      WEIGHTS.includes(name) ? this.s.w[name] = value : this.s[name] = value;
    Object.assign(this.s, keep);
    if (!keep.anchors) this.byRule();
    if (!('k' in keep) && (bundle.start?.alpha ?? bundle.start?.beta) !== undefined) this.follow();
    const had = this.root?.contains(document.activeElement) && document.activeElement, said = e => e.tagName + (e.closest('label') ?? e).textContent;
    this.build();
    if (had) {                            // the hand stays where it was
      const all = [this.views.find(v => v.name === this.s.view)?.panel, this.root].flatMap(p => [...p?.querySelectorAll('button, select, input') ?? []]);
      (all.find(e => said(e) === said(had)) ?? this.stage).focus();
    }
    if (!this.views.some(v => v.name === this.s.view)) this.s.view = this.views[0].name;
    this.watch();
    this.drawNow();
  }

  follow() {                            // the winner under the weights as they are
    const top = ranking(this.t, this.s.w, this.s.how)[0];
    if (top) Object.assign(this.s, { k: top.k, m: top.m });
  }

  merge(added = false) {                // what the kernel knows besides
    const first = { ...this.all[0], ...this.model.get('found') };
    this.all = [first, ...this.model.get('added') ?? []];
    if (added) { this.at = this.all.length - 1; return this.open({ view: this.s.view, tool: this.s.tool }); }
    if (this.at === 0) this.open({ ...this.s, ...first.looks.length > this.b.looks.length || this.working() ? { look: first.looks.length - 1 } : {} });
    else this.draw();
  }

  // ---- pictures

  picture(key, url) {                   // an image that is there, or null until it is
    if (!url) return null;
    let image = this.pictures.get(key);
    if (!image) {
      image = new Image();
      image.onload = () => this.draw();
      image.src = url;
      this.pictures.set(key, image);
    }
    return image.complete && image.naturalWidth ? image : null;
  }

  source() { return this.picture('source', this.b.picture); }

  edited(k, m) {                        // the input with an edit in it
    const n = this.t.index[k * this.t.m + m];
    return n >= 0 ? this.pasted(n, this.b.edits[n]) : null;
  }

  pasted(key, { box, picture }) {       // the input with a part in it, at the size it is kept
    const before = this.source(), part = this.picture(key, picture);
    if (!before || !picture) return before;
    if (!part) return null;
    if (!this.composed.has(key)) {
      if (this.composed.size > 24) this.composed.delete(this.composed.keys().next().value);
      const made = Object.assign(document.createElement('canvas'),
        { width: before.naturalWidth, height: before.naturalHeight });
      const ctx = made.getContext('2d'), [w, hi] = this.b.size;
      const sx = made.width / w, sy = made.height / hi;
      ctx.drawImage(before, 0, 0);
      ctx.drawImage(part, Math.round(box[0] * sx), Math.round(box[1] * sy),
        part.naturalWidth, part.naturalHeight);
      this.composed.set(key, made);
    }
    return this.composed.get(key);
  }

  values() {                            // of `tableValues`, with the ends of each; once for a set of weights
    const { t, s } = this;
    if (this.known?.of !== s.w || this.known.t !== t) {
      const all = tableValues(t, s.w), ends = {};
      for (const [name, v] of Object.entries(all)) {
        const finite = [...v].filter(Number.isFinite);
        ends[name] = { low: Math.min(...finite), high: Math.max(...finite), top: best(v, name) };
      }
      this.known = { of: s.w, t, all, ends };
    }
    return this.known;
  }

  whole(k, m) {                         // all that the editor made, the window around the box
    const edit = this.b.edits[this.t.index[k * this.t.m + m]];
    const crop = edit?.crop && this.picture(`w${this.t.index[k * this.t.m + m]}`, edit.crop);
    return crop ? { crop, window: edit.window } : null;
  }

  colour(k) { return this.b.colours[k % this.b.colours.length]; }
  box(k, m) { return [...this.t.boxes.subarray(4 * (k * this.t.m + m), 4 * (k * this.t.m + m) + 4)]; }
  anchor(k) { return [this.t.anchors[2 * k], this.t.anchors[2 * k + 1]]; }

  // ---- state

  set(change) {
    Object.assign(this.s, change);
    if (['rule', 'count', 'layer', 'head'].some(n => n in change)) this.byRule();
    this.draw();
  }
  select(k, m) {
    const { t } = this;
    k = Math.min(Math.max(k, 0), t.k - 1); m = Math.min(Math.max(m, 0), t.m - 1);
    this.set({ k, m });
  }
  turn(name, value) {
    const how = TERMS.includes(name) ? 'best' : this.s.how;
    this.set({ w: { ...this.s.w, [name]: value }, how, turned: name });
    this.follow();
  }

  // ---- controls that read and write the state

  option(label, name, choices) {        // choices: [value, text] pairs
    const select = h('select', { 'aria-label': label, onchange: () => {
      const value = choices()[select.selectedIndex][0];
      this.set({ [name]: value });
    } });
    const made = h('label', { class: 'rex-option' }, h('span', {}, label), select);
    made.refresh = () => {
      const now = choices(), key = now.map(c => c[1]).join('|');
      if (made.key !== key) {
        made.key = key;
        select.replaceChildren(...now.map(([, text]) => h('option', {}, text)));
      }
      select.selectedIndex = now.findIndex(c => c[0] === this.s[name]);
    };
    return made;
  }

  slider(label, { max, step, read, write, text = v => v.toFixed(2) }) {
    const input = h('input', { type: 'range', 'aria-label': label, min: 0, step,
      oninput: () => write(Number(input.value)) });
    const told = h('output', {});
    const made = h('label', { class: 'rex-slider' }, h('span', {}, label), input, told);
    made.refresh = () => {
      input.max = typeof max === 'function' ? max() : max;
      const value = read();
      if (Number(input.value) !== value) input.value = value;
      told.textContent = text(value);
      input.setAttribute('aria-valuetext', told.textContent);
    };
    made.input = input;
    return made;
  }

  // ---- what stands where

  build() {
    const { b } = this;
    this.stage = h('canvas', { class: 'rex-stage', tabindex: 0 });
    this.stageKeys();
    this.caption = h('p', { class: 'rex-caption', 'aria-live': 'polite' });
    this.strip = h('div', { class: 'rex-strip', role: 'group', 'aria-label': 'Candidates, best first' });
    this.views = this.listViews();
    const id = `rex${Math.random().toString(36).slice(2, 8)}`;
    this.tabs = h('div', { class: 'rex-tabs', role: 'tablist', 'aria-label': 'Views',
      onkeydown: e => this.tabKey(e) }, this.views.map(v => h('button', { type: 'button',
      role: 'tab', id: `${id}-t-${v.name}`, 'aria-controls': `${id}-p-${v.name}`,
      onclick: () => this.set({ view: v.name }) }, v.title)));
    for (const [i, v] of this.views.entries())
      v.panel = h('section', { role: 'tabpanel', id: `${id}-p-${v.name}`,
        'aria-labelledby': this.tabs.children[i].id }, v.content);
    const alone = b.kind === 'attention';
    this.root = h('div', { class: 'rex', ...OWN_KEYS, role: 'group', 'aria-label': alone ? 'Where a network looks'
      : `An edit: ${b.source} becomes ${b.prompt}` },
    this.notes(),
    alone ? null : h('p', { class: 'rex-title' }, h('b', {}, b.source), ' → ', h('b', {}, b.prompt), this.choice()),
    h('p', { class: 'rex-try' }, alone ? 'Point at the picture; a click on a patch puts an anchor there, or takes it away.'
      : 'Drag the line over the picture: before on its left, after on its right. Then choose another candidate below it, or a view.'),
    this.buildStatus(),
    h('div', { class: 'rex-body' },
      h('div', { class: 'rex-left' }, h('div', {}, this.stage), this.caption, this.strip),
      h('div', { class: 'rex-right' }, this.tabs, this.views.map(v => v.panel))));
    b.colours.forEach((c, i) => this.root.style.setProperty(`--rex-c${i}`, c));
    this.tabs.hidden = alone;
    this.host.replaceChildren(this.root);
  }

  choice() {                            // which edit is shown, where there are several
    if (this.all.length < 2) return null;
    const select = h('select', { onchange: () => {
      this.at = select.selectedIndex;
      this.open({ view: this.s.view });
    } }, this.all.map((b, i) => h('option', {}, i ? `${i + 1}. ${b.title}` : '1. the first edit')));
    select.selectedIndex = this.at;
    return h('label', { class: 'rex-option rex-choice' }, 'shown', select);
  }

  buildStatus() {                       // what the kernel does, wherever one looks
    const bar = h('progress', { max: 1, 'aria-label': 'edits done' }), text = h('span', {}), best = h('span', { class: 'rex-best' });
    const stop = h('button', { type: 'button', onclick: () => this.model.send({ do: 'stop' }) }, 'stop');
    const node = h('div', { class: 'rex-status', role: 'status' }, bar, text, best, stop);
    let shown;
    this.drawStatus = () => {
      const { state, done, total, best: top } = this.status(), works = this.working();
      node.hidden = !text.textContent && !this.statusWords();
      text.textContent = this.statusWords();
      bar.hidden = !works; stop.hidden = state !== 'works';
      if (total) { bar.max = total; bar.value = done; } else bar.removeAttribute('value');
      if (shown !== (works && top?.score)) {
        shown = works && top?.score;
        best.replaceChildren(...works && top ? ['best so far:', h('img', { src: top.picture, alt: `box (${top.box.join(', ')})` }), `score ${num(top.score)}`] : []);
      }
    };
    return node;
  }

  tabKey(event) {
    const i = this.views.findIndex(v => v.name === this.s.view), n = this.views.length;
    const to = { ArrowRight: (i + 1) % n, ArrowLeft: (i + n - 1) % n, Home: 0, End: n - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.set({ view: this.views[to].name });
    this.tabs.children[to].focus();
  }

  listViews() {
    const { b, t } = this;
    if (b.kind === 'attention') return [this.attentionView()];
    const found = [this.resultView(), this.attentionView(), this.regionsView()];
    if (Object.values(t.runs).some(r => r.steps > 1) || this.model) found.push(this.learningView());
    found.push(this.rankingView());
    if (b.painter.length || this.model) found.push(this.painterView());
    if (b.words.verdict) found.push(this.wordsView());
    return [...found, this.ownView()];
  }

  drawNow() {
    const { s } = this;
    const theme = themeOf(this.root);
    if (this.root.dataset.theme !== theme || !this.ink) {   // a page that is not shown yet has no colours
      this.root.dataset.theme = theme;
      const style = getComputedStyle(this.root);
      for (const name of ['ink', 'soft', 'line']) this[name] = style.getPropertyValue(`--rex-${name}`).trim();
    }
    for (const [i, v] of this.views.entries()) {
      const on = v.name === s.view, tab = this.tabs.children[i];
      v.panel.hidden = !on;
      tab.setAttribute('aria-selected', on);
      tab.tabIndex = on ? 0 : -1;
    }
    this.ranked = ranking(this.t, s.w, s.how);
    this.drawStatus();
    this.drawStage();
    this.drawStrip();
    this.views.find(v => v.name === s.view).draw();
  }

  // ---- the picture

  stageKeys() {
    const at = e => {
      const r = this.stage.getBoundingClientRect();
      return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height];
    };
    this.stage.addEventListener('pointerdown', e => {
      const [u, v] = at(e);
      this.stage.setPointerCapture?.(e.pointerId);
      this.pressed = { u, v, drag: Math.abs(u - this.s.curtain) * this.stage.clientWidth < 24 };
      if (this.s.view === 'own') this.ownPress(u, v);
      else if (this.s.view === 'result') { this.pressed.drag = true; this.set({ curtain: u }); }
    });
    this.stage.addEventListener('pointermove', e => {
      const [u, v] = at(e), { pressed } = this;
      if (pressed && this.s.view === 'own') this.ownMove(u, v);
      else if (pressed) {
        if (pressed.drag && this.s.view !== 'attention') { pressed.moved = true; this.set({ curtain: clamp(u, 0, 1) }); }
      } else if (this.s.view === 'attention') this.hover(u, v);
    });
    this.stage.addEventListener('pointerup', e => {
      const was = this.pressed;
      this.pressed = null;
      if (this.s.view === 'own') this.ownRelease(was);
      else if (was && !was.moved && this.s.view !== 'result') this.pick(...at(e));
    });
    this.stage.addEventListener('pointercancel', () => { this.pressed = null; });
    this.stage.addEventListener('keydown', e => {
      const act = { attention: () => this.walkPatches(e), own: () => this.ownKey(e) }[this.s.view];
      if (act) return act();
      const { curtain } = this.s, step = e.shiftKey ? .1 : .02;
      const to = { ArrowLeft: curtain - step, ArrowRight: curtain + step, ArrowDown: curtain - step,
        ArrowUp: curtain + step, Home: 0, End: 1, PageUp: curtain + .1, PageDown: curtain - .1 }[e.key];
      if (to === undefined) return;
      e.preventDefault();
      this.set({ curtain: clamp(to, 0, 1) });
    });
  }

  pick(u, v) {                          // a click: the nearest anchor, or the smallest box there
    const { t, s } = this, [w, hi] = this.b.size, x = u * w, y = v * hi;
    if (s.view === 'attention') { this.hover(u, v); return this.togglePatch(); }
    const reach = 14 * w / this.stage.clientWidth;
    let near = null;
    for (let k = 0; k < t.k; k++) {
      const [ax, ay] = this.anchor(k), far = Math.hypot(ax - x, ay - y);
      if (far < reach && (!near || far < near.far)) near = { k, far };
    }
    if (near && near.k !== s.k) return this.select(near.k, Math.max(t.chosen[near.k], 0));
    let small = null;
    for (let m = 0; m < t.m; m++) {
      const [x0, y0, x1, y1] = this.box(s.k, m), area = (x1 - x0) * (y1 - y0);
      if (x0 <= x && x < x1 && y0 <= y && y < y1 && (!small || area < small.area)) small = { m, area };
    }
    if (small) this.select(s.k, small.m);
    else if (near) this.select(near.k, s.m);
  }

  patchAt(x, y) {                       // the patch of a point of the picture
    const [gh, gw] = this.b.attention.mean.shape, [w, hi] = this.b.size;
    return clamp(Math.floor(y / hi * gh), 0, gh - 1) * gw + clamp(Math.floor(x / w * gw), 0, gw - 1);
  }

  hover(u, v) { this.set({ patch: this.patchAt(u * this.b.size[0], v * this.b.size[1]) }); }

  togglePatch() {                       // an anchor in the middle of the patch, or away with it
    const { anchors, patch } = this.s, [gh, gw] = this.b.attention.mean.shape, [w, hi] = this.b.size;
    if (patch < 0) return;
    const kept = anchors.filter(([x, y]) => this.patchAt(x, y) !== patch);
    if (kept.length === anchors.length)
      kept.push([(patch % gw + .5) * w / gw, (Math.floor(patch / gw) + .5) * hi / gh]);
    this.set({ anchors: kept, rule: 'by hand', grip: Math.max(kept.length - 1, 0) });
  }

  byRule() {                            // anchors as the rule puts them on the map that is shown
    const { s, b, t } = this;
    if (s.rule === 'by hand') return;
    s.grip = 0;
    s.anchors = s.rule === 'learned' ? Array.from({ length: t.k }, (_, k) => this.anchor(k)).filter(p => Number.isFinite(p[0]))
      : chooseAnchors(this.attentionMap(), b.attention.mean.shape, s.rule, s.count ?? b.config.num_anchors, b.size);
  }

  walkPatches(e) {
    const [gh, gw] = this.b.attention.mean.shape, at = Math.max(this.s.patch, 0), row = Math.floor(at / gw), column = at % gw;
    const to = { ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column] }[e.key];
    if (!to && e.key !== 'Enter' && e.key !== ' ') return;
    e.preventDefault();
    if (to) this.set({ patch: clamp(to[0], 0, gh - 1) * gw + clamp(to[1], 0, gw - 1) });
    else this.togglePatch();
  }

  patchWords() {
    const map = this.attentionMap(), [gh, gw] = this.b.attention.mean.shape, at = this.s.patch;
    if (at < 0) return `${gw} x ${gh} patches; brighter is more attention.`;
    const sum = map.reduce((a, v) => a + v, 0);
    return `Patch ${at % gw}, ${Math.floor(at / gw)}: ${(100 * map[at] / sum).toPrecision(3)} % of the attention, ${(map[at] / sum * map.length).toFixed(2)} times the mean.`;
  }

  drawStage() {
    const { s, b, t } = this, [w, hi] = b.size, looks = s.view === 'attention', own = s.view === 'own';
    const tall = clamp(hi / w, .3, 1.5);
    const { ctx, width, height } = surface(this.stage, wide => wide * tall);
    const painted = s.view === 'painter' && b.painter.length && this.pasted(`p${s.painter}`, b.painter[s.painter]);
    const look = own && b.looks[s.look], before = this.source();
    const after = looks ? null : own ? look && this.pasted(`l${s.look}${look.name}${look.box}`, look)
      : painted || this.edited(s.k, s.m);
    ctx.fillStyle = this.line; ctx.fillRect(0, 0, width, height);
    this.tellStage(looks, own);
    if (!before) return;
    ctx.imageSmoothingQuality = 'high';
    ctx.drawImage(before, 0, 0, width, height);
    const edge = own ? 0 : s.curtain * width;
    if (after) {
      ctx.save();
      ctx.beginPath(); ctx.rect(edge, 0, width - edge, height); ctx.clip();
      ctx.drawImage(after, 0, 0, width, height);
      ctx.restore();
    }
    const to = (px, py) => [px * width / w, py * height / hi];
    const whole = s.view === 'regions' && s.whole && this.whole(s.k, s.m);
    if (whole) {
      const [x0, y0] = to(whole.window[0], whole.window[1]), [x1, y1] = to(whole.window[2], whole.window[3]);
      ctx.drawImage(whole.crop, x0, y0, x1 - x0, y1 - y0);
    }
    if (looks) this.overAttention(ctx, width, height);
    else if (own) return this.overOwn(ctx, to);
    else if (s.view === 'learning') this.overLearning(ctx, to, edge, width, height);
    else {
      if (s.view === 'regions')
        for (let m = 0; m < t.m; m++) if (m !== s.m) this.drawBox(ctx, to, this.box(s.k, m), this.colour(s.k), 1.2, [4, 3]);
      if (s.outline || s.view !== 'result')
        this.drawBox(ctx, to, this.box(s.k, s.m), this.colour(s.k), 3);
    }
    if (looks) s.anchors.forEach((p, k) => this.drawAnchor(ctx, to, k, p));
    else if (s.view !== 'result' && s.view !== 'painter')
      for (let k = 0; k < t.k; k++) this.drawAnchor(ctx, to, k, this.anchor(k), k === s.k);
    if (!looks) this.drawCurtain(ctx, edge, height);
  }

  tellStage(looks, own) {               // what the picture says to who cannot see it
    const { s, b } = this, said = looks ? this.patchWords() : own ? this.ownWords() : this.sentence();
    this.caption.textContent = said;
    this.stage.style.touchAction = own ? 'none' : 'pan-y';
    this.stage.style.cursor = looks || own ? 'crosshair' : 'ew-resize';
    const tells = looks || own ? { role: 'application', 'aria-label': (looks ? 'The input under its attention; arrow keys walk over the patches, Enter puts an anchor there or takes it away. '
      : 'The input with a box and anchors of your own; arrow keys move what is chosen, with Shift the far corner; Delete takes an anchor away, Enter puts one in the middle. ') + said }
      : { role: 'slider', 'aria-label': `Before (${b.source}) and after (${b.prompt}). ${said}`,
        'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-orientation': 'horizontal', 'aria-valuenow': Math.round(100 * s.curtain),
        'aria-valuetext': `${percent(s.curtain)} before, ${percent(1 - s.curtain)} after` };
    for (const name of ['role', 'aria-label', 'aria-valuemin', 'aria-valuemax', 'aria-orientation', 'aria-valuenow', 'aria-valuetext'])
      name in tells ? this.stage.setAttribute(name, tells[name]) : this.stage.removeAttribute(name);
  }

  drawBox(ctx, to, [x0, y0, x1, y1], colour, wide, dash = []) {
    const [a, c] = to(x0, y0), [d, e] = to(x1, y1), half = wide / 2;
    ctx.setLineDash(dash);
    for (const [ink, extra] of [['rgba(255,255,255,.85)', dash.length ? 0 : 2.5], [colour, 0]]) {
      if (ink !== colour && !extra) continue;
      ctx.strokeStyle = ink; ctx.lineWidth = wide + extra;
      ctx.strokeRect(a + half, c + half, Math.max(d - a - wide, 1), Math.max(e - c - wide, 1));
    }
    ctx.setLineDash([]);
  }

  drawAnchor(ctx, to, k, [x, y], chosen = false) {
    if (!Number.isFinite(x)) return;
    const [u, v] = to(x, y), r = chosen ? 11 : 8.5, colour = this.colour(k);
    ctx.beginPath(); ctx.arc(u, v, r, 0, 7);
    ctx.fillStyle = colour; ctx.fill();
    ctx.strokeStyle = '#fff'; ctx.lineWidth = chosen ? 3 : 1.5; ctx.stroke();
    ctx.fillStyle = inkOn(rgb(colour)); ctx.textAlign = 'center'; ctx.textBaseline = 'middle';
    ctx.fillText(String(k), u, v + .5);
  }

  drawCurtain(ctx, edge, height) {
    if (this.s.curtain <= 0 || this.s.curtain >= 1) return;
    ctx.strokeStyle = 'rgba(0,0,0,.55)'; ctx.lineWidth = 4;
    ctx.beginPath(); ctx.moveTo(edge, 0); ctx.lineTo(edge, height); ctx.stroke();
    ctx.strokeStyle = '#fff'; ctx.lineWidth = 2; ctx.stroke();
    ctx.beginPath(); ctx.arc(edge, height - 20, 13, 0, 7); ctx.fillStyle = '#fff'; ctx.fill();
    ctx.strokeStyle = '#444'; ctx.lineWidth = 1.5; ctx.stroke();
    ctx.fillStyle = '#222'; ctx.textAlign = 'center'; ctx.textBaseline = 'middle';
    ctx.fillText('◂▸', edge, height - 19.5);
  }

  sentence() {                          // where the box is, who chose it, with whom it shares
    const { s, t, b } = this, i = s.k * t.m + s.m, [x0, y0, x1, y1] = this.box(s.k, s.m);
    const place = this.ranked.findIndex(e => e.k === s.k && e.m === s.m);
    const said = [`Anchor ${s.k}, proposal ${s.m}: box (${x0}, ${y0}, ${x1}, ${y1}), ${x1 - x0} x ${y1 - y0} pixels.`];
    if (place >= 0) said.push(`Place ${place + 1} of ${this.ranked.length}, score ${num(this.ranked[place].score)}.`);
    else if (t.chosen[s.k] === s.m) said.push(`Chosen for anchor ${s.k}.`);
    if (t.index[i] < 0) said.push('It was not edited: a budget or the amortised network left it out.');
    else if (!t.painted[i]) said.push('It was looked at in fewer steps only: a preview, which stands in no ranking.');
    else if (!t.valid[i]) said.push('It is left out: a loss or a similarity came out as no number.');
    const others = [];
    t.index.forEach((n, j) => { if (n === t.index[i] && n >= 0 && j !== i) others.push(`(${Math.floor(j / t.m)}, ${j % t.m})`); });
    if (others.length) said.push(`The same box, and so the same edit, as ${others.slice(0, 6).join(', ')}${others.length > 6 ? ' and others' : ''}.`);
    return said.join(' ');
  }

  drawStrip() {
    this.drawTiles(this.strip, this.ranked.slice(0, 16).map((e, n) => ({ ...e, box: this.box(e.k, e.m),
      image: this.edited(e.k, e.m), colour: this.colour(e.k), words: `${n + 1}. ${num(e.score)}`,
      more: `, anchor ${e.k}, proposal ${e.m}`, on: e.k === this.s.k && e.m === this.s.m })), e => this.select(e.k, e.m));
  }

  drawTiles(strip, items, choose) {     // small pictures to choose from, by click or arrow keys
    const [w, hi] = this.b.size;
    strip.items = items;
    while (strip.children.length > items.length) strip.lastChild.remove();
    while (strip.children.length < items.length) {
      const n = strip.children.length;
      strip.append(h('button', { type: 'button', class: 'rex-thumb', onclick: () => choose(strip.items[n], n),
        onkeydown: e => {
          const to = { ArrowRight: n + 1, ArrowLeft: n - 1, Home: 0, End: strip.items.length - 1 }[e.key];
          if (to === undefined || !strip.items[to]) return;
          e.preventDefault(); choose(strip.items[to], to); strip.children[to]?.focus();
        } }, h('canvas', { width: 128, height: Math.round(128 * Math.min(hi / w, 1.6)) }), h('span', {}), h('span', { class: 'rex-hidden' })));
    }
    items.forEach((e, n) => {
      const button = strip.children[n], [canvas, words, more] = button.children;
      const mark = `${e.box}:${e.colour}:${e.image ? 1 : 0}:${this.root.dataset.theme}:${e.words}`;
      if (button.dataset.mark !== mark) {
        button.dataset.mark = mark;
        const ctx = canvas.getContext('2d'), [x0, y0, x1, y1] = e.box, f = canvas.width / w, g = canvas.height / hi;
        ctx.clearRect(0, 0, canvas.width, canvas.height);
        if (e.image) ctx.drawImage(e.image, 0, 0, canvas.width, canvas.height);
        ctx.strokeStyle = e.colour; ctx.lineWidth = 3;
        ctx.strokeRect(x0 * f + 1, y0 * g + 1, (x1 - x0) * f - 2, (y1 - y0) * g - 2);
      }
      words.textContent = e.words;
      more.textContent = e.more;
      button.setAttribute('aria-pressed', e.on);
    });
  }

  // ---- before and after

  resultView() {
    const body = h('table', { class: 'rex-table' }), check = h('input', { type: 'checkbox',
      onchange: () => this.set({ outline: check.checked }) });
    const more = h('p', { class: 'rex-soft' });
    const draw = () => {
      const { b, t, s } = this, i = s.k * t.m + s.m;
      check.checked = s.outline;
      const rows = [['score', num(scoreAt(t, s.w, i))], ['text similarity', num(t.t2i[i])],
        ['source similarity', num(t.i2i[i])], ...(t.src ? [['source in the box', num(t.src[i])]] : []),
        ...TERMS.map(n => [`loss ${n}`, num(t.terms[n][i])])];
      if (body.children.length !== rows.length) body.replaceChildren(...rows.map(() => h('tr', {}, h('th', { scope: 'row' }), h('td', {}))));
      rows.forEach((row, r) => row.forEach((text, c) => { body.children[r].children[c].textContent = text; }));
      const total = b.seconds.total, all = t.k * t.m;
      more.textContent = `${t.k} anchors x ${t.m} proposals = ${all} boxes, ${b.num_edits} different edits`
        + (total ? `, ${total.toFixed(1)} s.` : '.') + ` Models: ${b.preset}. Seed: ${b.seed}.`;
    };
    return { name: 'result', title: 'Before and after', draw, content: [
      h('p', { class: 'rex-ask' }, 'What has changed?'), body,
      h('label', { class: 'rex-check' }, check, ' outline of the box'), more] };
  }

  // ---- attention

  attentionMap(head = this.s.head) {    // of the layer that is chosen; -1: mean of the heads
    const { attention } = this.b, { s } = this;
    if (!this.mean) {
      this.mean = unpack(attention.mean);
      this.layers = attention.layers ? unpack(attention.layers) : null;
    }
    if (!this.layers || s.layer < 0) return this.mean;
    const [, heads, gh, gw] = attention.layers.shape, n = gh * gw;
    const from = (s.layer * heads + Math.max(head, 0)) * n;
    if (head >= 0) return this.layers.subarray(from, from + n);
    const out = new Float32Array(n);
    for (let j = 0; j < heads; j++) for (let i = 0; i < n; i++) out[i] += this.layers[from + j * n + i] / heads;
    return out;
  }

  overAttention(ctx, width, height) {
    const map = this.attentionMap(), [gh, gw] = this.b.attention.mean.shape, { s } = this;
    const share = scaled(map, s.scale), inside = s.massed && massRegion(map, s.mass);
    tiles(ctx, inside ? Array.from(inside, v => [0, 0, 0, v ? 0 : 190]) : Array.from(share, v => [...ramp('inferno', v), 158]),
      gw, 0, 0, width, height);
    if (s.patch >= 0) {
      ctx.strokeStyle = '#fff'; ctx.lineWidth = 2;
      ctx.strokeRect(s.patch % gw * width / gw, Math.floor(s.patch / gw) * height / gh, width / gw, height / gh);
    }
  }

  massWords(map) {
    const { mass, anchors } = this.s, inside = massRegion(map, mass), n = inside.reduce((a, v) => a + v, 0);
    const among = anchors.filter(([x, y]) => inside[this.patchAt(x, y)]).length;
    return `${percent(mass)} of the attention lies on ${n} of ${map.length} patches; ${among} of ${anchors.length} anchors are among them.`;
  }

  attentionView() {
    const { b } = this, [gh, gw] = b.attention.mean.shape, most = Math.min(16, gh * gw);
    const scale = this.option('scale', 'scale', () => [['linear', 'linear'], ['log', 'log'], ['rank', 'rank']]);
    const choices = [];
    if (b.attention.layers) {
      const [l, heads] = b.attention.layers.shape;
      choices.push(this.option('layer', 'layer', () => [[-1, 'the one the method uses'],
        ...Array.from({ length: l }, (_, i) => [i, String(i + 1)])]),
      this.option('head', 'head', () => this.s.layer < 0 ? [[this.s.head, 'mean of the heads']]
        : [[-1, 'mean of the heads'], ...Array.from({ length: heads }, (_, i) => [i, String(i)])]));
    }
    const ask = !b.attention.layers && this.asker('every layer and head (no edit)', () => ({ do: 'heads' }));
    const massed = this.option('show', 'massed', () => [[false, 'how much'], [true, 'the fewest patches that hold']]);
    const mass = this.slider('share', { max: 1, step: .05, read: () => this.s.mass, write: v => this.set({ mass: Math.max(v, .05), massed: true }), text: percent });
    const rule = this.option('anchors', 'rule', () => [...this.t.k ? [['learned', 'as in this edit']] : [],
      ['spread', 'by rule: spread'], ['topk', 'by rule: the highest'], ['by hand', 'by hand']]);
    const count = this.slider('how many', { max: most, step: 1, read: () => this.s.anchors.length, text: String,
      write: v => this.set({ count: Math.max(v, 1), rule: this.s.rule === 'topk' ? 'topk' : 'spread' }) });
    const bar = h('canvas', { role: 'img' }), words = h('p', { 'aria-live': 'polite' }), warn = h('p', { class: 'rex-warn' });
    const held = h('p', {}), heads = h('canvas', { class: 'rex-heads', role: 'img', 'aria-label': 'The heads of a layer' });
    heads.addEventListener('click', e => {
      const n = b.attention.layers?.shape[1];
      if (n) this.set({ head: Math.min(Math.floor(e.offsetX / heads.clientWidth * this.headColumns), n - 1) });
    });
    const draw = () => {
      [scale, ...choices, massed, mass, rule, count, ...ask ? [ask] : []].forEach(c => c.refresh());
      const map = this.attentionMap(), sum = map.reduce((a, v) => a + v, 0), low = Math.min(...map), high = Math.max(...map);
      const { ctx, width } = surface(bar, 34), share = v => `${(100 * v / sum).toPrecision(2)} %`, floor = Math.max(low, high * 1e-4);
      for (let i = 0; i < width; i++) { ctx.fillStyle = `rgb(${ramp('inferno', i / width).join(',')})`; ctx.fillRect(i, 0, 1.5, 14); }
      ctx.fillStyle = this.ink; ctx.textBaseline = 'top';
      const ends = this.s.scale === 'rank' ? ['least', 'middle rank', 'most']
        : (this.s.scale === 'log' ? [floor, Math.sqrt(floor * high), high] : [low, (low + high) / 2, high]).map(share);
      ctx.textAlign = 'left'; ctx.fillText(ends[0], 0, 18);
      ctx.textAlign = 'center'; ctx.fillText(ends[1], width / 2, 18);
      ctx.textAlign = 'right'; ctx.fillText(ends[2], width, 18);
      bar.setAttribute('aria-label', `Colours from ${ends[0]} to ${ends[2]} of the attention`);
      const deep = sink(map);
      words.textContent = this.patchWords(); held.textContent = this.massWords(map);
      warn.hidden = !deep;
      if (deep) warn.textContent = `One patch (${deep.at % gw}, ${Math.floor(deep.at / gw)}) holds ${percent(deep.share)} of all attention: an attention sink. It is no sign of a thing there; use the log or the rank scale to see the rest.`;
      heads.hidden = !this.layers || this.s.layer < 0;
      if (!heads.hidden) this.drawHeads(heads, gh, gw);
    };
    return { name: 'attention', title: 'Attention', draw, content: [
      h('p', { class: 'rex-ask' }, 'Where does the network look, and where would you put the anchors?'), h('div', { class: 'rex-row' }, choices, scale, ask || null),
      h('div', {}, bar), words, warn, h('div', {}, heads), h('div', { class: 'rex-row' }, massed, mass), held,
      h('div', { class: 'rex-row' }, rule, count), h('p', { class: 'rex-soft' }, 'Point at the picture, or go to it and use the arrow keys. A click, or Enter, puts an anchor on a patch or takes it away.')] };
  }

  drawHeads(canvas, gh, gw) {
    const n = this.b.attention.layers.shape[1];
    this.headColumns = n;
    const { ctx, width } = surface(canvas, wide => wide / n * gh / gw + 16), size = width / n;
    for (let j = 0; j < n; j++) {
      const share = scaled(this.attentionMap(j), this.s.scale), wide = size - 4;
      tiles(ctx, Array.from(share, v => [...ramp('inferno', v), 255]), gw, j * size, 0, wide, wide * gh / gw);
      ctx.fillStyle = this.ink; ctx.textAlign = 'left'; ctx.textBaseline = 'top';
      ctx.fillText(size < 50 ? String(j) : `head ${j}`, j * size, (size - 4) * gh / gw + 3);
    }
    canvas.setAttribute('aria-label', `The ${n} heads of layer ${this.s.layer + 1}; choose one in the list above`);
  }

  // ---- regions: the map of K x M, and each term as a bar

  regionsView() {
    const map = h('canvas', { class: 'rex-map', tabindex: 0, role: 'application' });
    const term = this.option('colour by', 'term', () => Object.keys(this.values().all).map(n => [n, n]));
    const bars = h('table', { class: 'rex-table rex-bars' });
    const shown = this.b.edits.some(e => e.crop) ? this.option('edit', 'whole', () => [[false, 'in the picture'], [true, 'as the editor made it']]) : null;
    const geometry = () => { const left = 26, top = 18; return { left, top, cell: (map.clientWidth - left) / this.t.m, high: this.mapRow }; };
    map.addEventListener('click', e => {
      const { left, top, cell, high } = geometry();
      if (e.offsetX > left && e.offsetY > top) this.select(Math.floor((e.offsetY - top) / high), Math.floor((e.offsetX - left) / cell));
    });
    map.addEventListener('keydown', e => {
      const { k, m } = this.s, to = { ArrowLeft: [k, m - 1], ArrowRight: [k, m + 1], ArrowUp: [k - 1, m], ArrowDown: [k + 1, m],
        Home: [k, 0], End: [k, this.t.m - 1] }[e.key] ?? (e.key === 'b' ? this.bestEntry() : null);
      if (!to) return;
      e.preventDefault(); this.select(...to);
    });
    const draw = () => {
      term.refresh(); shown?.refresh();
      this.drawMap(map, this.s.term);
      this.drawBars(bars);
      this.fetchAround();
    };
    return { name: 'regions', title: 'Regions', draw, content: [
      h('p', { class: 'rex-ask' }, 'Which box, and what would the others have given?'),
      h('div', { class: 'rex-row' }, term, shown, h('button', { type: 'button', onclick: () => this.select(...this.bestEntry()) }, 'lowest loss')),
      h('div', {}, map), h('p', { class: 'rex-soft' }, 'Rows: anchors; columns: proposals, small to large. Tick: chosen for its anchor. Click, or walk with the arrow keys.'), bars] };
  }

  bestEntry() {
    const loss = losses(this.t, this.s.w);
    let at = 0;
    loss.forEach((v, i) => { if (v < loss[at] || !Number.isFinite(loss[at])) at = i; });
    return [Math.floor(at / this.t.m), at % this.t.m];
  }

  fetchAround() {                       // the next step of the arrow keys finds its picture there
    const { t, s } = this;
    for (const [k, m] of [[s.k, s.m - 1], [s.k, s.m + 1], [s.k - 1, s.m], [s.k + 1, s.m]])
      if (k >= 0 && k < t.k && m >= 0 && m < t.m) this.edited(k, m);
  }

  drawMap(canvas, name) {               // the cells are kept; a step only moves the frame
    const { t, s } = this, left = 26, top = 18, values = this.values().all[name];
    this.mapRow = t.k > 40 ? 10 : t.k > 16 ? 18 : 27;
    const { ctx, width } = surface(canvas, top + this.mapRow * t.k + 2), cell = (width - left) / t.m, high = this.mapRow;
    const mark = [name, canvas.width, canvas.height, this.root.dataset.theme].join();
    if (this.cells?.of !== values || this.cells.mark !== mark) {
      const kept = Object.assign(document.createElement('canvas'), { width: canvas.width, height: canvas.height });
      const inner = kept.getContext('2d');
      inner.setTransform(ctx.getTransform());
      inner.font = ctx.font;
      this.drawCells(inner, name, left, top, cell);
      this.cells = { of: values, mark, kept };
    }
    ctx.save();
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.drawImage(this.cells.kept, 0, 0);
    ctx.restore();
    const x = left + s.m * cell, y = top + s.k * high;
    ctx.strokeStyle = '#fff'; ctx.lineWidth = 4; ctx.strokeRect(x + .5, y + .5, cell - 2, high - 2);
    ctx.strokeStyle = '#000'; ctx.lineWidth = 2; ctx.strokeRect(x + .5, y + .5, cell - 2, high - 2);
    canvas.setAttribute('aria-label', `Map of ${t.k} anchors and ${t.m} proposals by ${name}. Anchor ${s.k}, proposal ${s.m}: ${num(values[s.k * t.m + s.m])}. Arrow keys walk.`);
  }

  drawCells(ctx, name, left, top, cell) {       // the map without its frame, in CSS pixels
    const { t } = this, { all, ends } = this.values(), high = this.mapRow, { low } = ends[name], span = ends[name].high - low || 1;
    ctx.textBaseline = 'middle'; ctx.textAlign = 'center';
    ctx.fillStyle = this.ink;
    for (let m = 0; m < t.m; m += cell < 16 ? 5 : 1) ctx.fillText(String(m), left + (m + .5) * cell, 9);
    for (let k = 0; k < t.k; k++) {
      if (high > 11 || k % 4 === 0) { ctx.fillStyle = this.ink; ctx.fillText(String(k), 12, top + (k + .5) * high); }
      for (let m = 0; m < t.m; m++) {
        const v = all[name][k * t.m + m], x = left + m * cell, y = top + k * high;
        const share = HIGHER.includes(name) ? (v - low) / span : 1 - (v - low) / span;
        const colour = Number.isFinite(v) ? ramp('cividis', share) : [140, 140, 140];
        ctx.fillStyle = `rgb(${colour.join(',')})`;
        ctx.fillRect(x, y, cell - 1, high - 1);
        ctx.fillStyle = inkOn(colour);
        if (cell > 32 && high > 14) ctx.fillText((t.chosen[k] === m && cell > 54 ? '✓ ' : '') + num(v, 2), x + cell / 2, y + high / 2);
        if (t.chosen[k] === m && cell <= 54 && cell > 6) ctx.fillRect(x + cell / 2 - 2, y + high - 5, 4, 3);
      }
    }
  }

  drawBars(table) {                     // a row a value; the rows stay, their numbers change
    const { t, s } = this, i = s.k * t.m + s.m, { all, ends } = this.values(), names = Object.keys(all);
    if (table.children.length !== names.length + 1) table.replaceChildren(
      h('tr', {}, ...['', 'line: best of all', 'this box', '', 'best'].map((n, j) => j ? h('th', { scope: 'col' }, n) : h('td', {}))),
      ...names.map(() => h('tr', {}, h('th', { scope: 'row' }), h('td', { class: 'rex-barcell' }, h('span', { class: 'rex-bar' }),
        h('span', { class: 'rex-tick', title: 'best of all' })), h('td', {}), h('td', {}), h('td', {}))));
    const [head, ...rows] = table.children;
    head.children[3].textContent = `best of anchor ${s.k}`;
    names.forEach((name, n) => {
      const v = all[name], [title, bars, here, ofAnchor, ofAll] = rows[n].children, [bar, tick] = bars.children, { top } = ends[name];
      const low = Math.min(0, ends[name].low), span = Math.max(0, ends[name].high) - low || 1, from = (Math.min(v[i], 0) - low) / span;
      title.textContent = name + (TERMS.includes(name) ? ` (x ${s.w[name]})` : '');
      Object.assign(bar.style, { left: `${100 * from || 0}%`, width: `${100 * Math.abs(v[i]) / span || 0}%`, background: this.colour(s.k) });
      tick.style.left = `${100 * (top - low) / span || 0}%`;
      here.textContent = num(v[i]); ofAll.textContent = num(top);
      ofAnchor.textContent = num(best(v, name, s.k * t.m, (s.k + 1) * t.m));
    });
  }

  // ---- learning

  overLearning(ctx, to, edge, width, height) {   // two runs: one on each side of the line
    const { s } = this, sides = s.against ? [[s.run, 0, edge], [s.against, edge, width]] : [[s.run, 0, width]];
    for (const [name, from, upTo] of sides) {
      ctx.save();
      ctx.beginPath(); ctx.rect(from, 0, upTo - from, height); ctx.clip();
      this.runBoxes(ctx, to, this.t.runs[name]);
      ctx.restore();
    }
  }

  runBoxes(ctx, to, run) {
    const { t, s } = this, step = Math.min(s.step, run.steps - 1);
    for (let k = 0; k < t.k; k++) if (s.whose < 0 || s.whose === k) {
      const now = run.chosen[step * t.k + k];
      let old = -1;
      for (let i = step; i >= 0 && old < 0; i--) if (run.chosen[i * t.k + k] !== now) old = run.chosen[i * t.k + k];
      if (old >= 0) this.drawBox(ctx, to, this.box(k, old), this.colour(k), 1.2, [4, 3]);
      this.drawBox(ctx, to, this.box(k, now), this.colour(k), k === s.k ? 3.5 : 2);
    }
  }

  learningView() {
    const { t } = this, names = Object.keys(t.runs), last = () => Math.max(...names.map(n => t.runs[n].steps)) - 1;
    const play = h('button', { type: 'button', onclick: () => this.play() });
    const step = this.slider('step', { max: last, step: 1, read: () => Math.min(this.s.step, last()),
      write: v => { this.stop(); this.set({ step: v }); }, text: v => `${v} of ${last()}` });
    const run = this.option('boxes of', 'run', () => names.map(n => [n, n]));
    const against = this.option('and of', 'against', () => [['', 'no other'], ...names.map(n => [n, n])]);
    const whose = this.option('anchor', 'whose', () => [[-1, 'all'], ...Array.from({ length: t.k }, (_, k) => [k, String(k)])]);
    const curves = this.option('below', 'curves', () => [['probabilities', 'probabilities'], ['loss terms', 'loss terms']]);
    const upper = h('canvas', { role: 'img' }), lower = h('canvas', { role: 'img' });
    const scrub = canvas => {
      const go = e => { if (e.buttons) { this.stop(); this.set({ step: Math.min(Math.max(Math.round((e.offsetX - 44) / (canvas.clientWidth - 44 - 58) * last()), 0), last()) }); } };
      canvas.addEventListener('pointerdown', go); canvas.addEventListener('pointermove', go);
    };
    scrub(upper); scrub(lower);
    const told = h('p', { class: 'rex-soft' }), again = ['exact', 'rloo', 'reinforce', 'gumbel', 'released'].map(name =>
      this.asker(name, () => ({ do: 'learn', estimator: name })));
    const upperTitle = h('p', { class: 'rex-sub' }), lowerTitle = h('p', { class: 'rex-sub' }), table = h('table', { class: 'rex-table' });
    const draw = () => {
      [step, run, against, whose, curves, ...again].forEach(c => c.refresh());
      play.textContent = this.playing ? '❚❚ pause' : '▶ play';
      told.textContent = 'On the picture: solid, what an anchor chooses at this step; dashed, what it chose before.'
        + (this.s.against ? ` Left of the line the boxes of ${this.s.run}, right of it those of ${this.s.against}.` : '');
      const { s } = this, w = weightsOf(this.b.config);
      this.curvesOf ??= Object.fromEntries(names.map(n => [n, { loss: learningCurve(t, t.runs[n], w), sure: sureness(t, t.runs[n]) }]));
      upperTitle.textContent = 'expected loss, mean over anchors';
      this.chart(upper, names.map((n, i) => ({ name: n, values: this.curvesOf[n].loss, colour: this.b.colours[i % 8] })), s.step, 'expected loss');
      lowerTitle.textContent = s.curves === 'loss terms' ? `loss terms of the choice, ${s.run}` : s.whose < 0
        ? `probability of the last choice, by anchor, ${s.run}` : `probability of each proposal of anchor ${s.whose}, ${s.run}`;
      this.chart(lower, this.lowerCurves(), s.step, lowerTitle.textContent);
      const cells = names.map(n => { const at = Math.min(s.step, t.runs[n].steps - 1);
        return h('tr', {}, h('th', { scope: 'row' }, n), h('td', {}, num(this.curvesOf[n].loss[at])), h('td', {}, num(this.curvesOf[n].sure[at])), h('td', {}, this.atBest(n, at, w))); });
      table.replaceChildren(h('tr', {}, h('td', {}), ...['loss', 'surest', 'at the best'].map(n => h('th', { scope: 'col' }, n))), ...cells);
    };
    return { name: 'learning', title: 'Learning', draw, content: [
      h('p', { class: 'rex-ask' }, 'How did the network come to its choice?'),
      h('div', { class: 'rex-row' }, play, step), h('div', { class: 'rex-row' }, names.length > 1 ? [run, against] : null, whose, curves),
      upperTitle, h('div', {}, upper), lowerTitle, h('div', {}, lower), table,
      told, h('div', { class: 'rex-row' }, h('span', { class: 'rex-soft' }, 'Learn again from the same table (no edit) with'), again)] };
  }

  atBest(name, step, w) {
    const { t } = this, loss = losses(t, w), run = t.runs[name];
    let at = 0, of = 0;
    for (let k = 0; k < t.k; k++) {
      const row = [...loss.subarray(k * t.m, (k + 1) * t.m)].filter(Number.isFinite);
      if (!row.length) continue;
      of++; at += loss[k * t.m + run.chosen[step * t.k + k]] <= Math.min(...row) ? 1 : 0;
    }
    return `${at} of ${of}`;
  }

  lowerCurves() {
    const { t, s } = this, run = t.runs[s.run], n = t.k * t.m, over = f => Float64Array.from({ length: run.steps }, (_, i) => f(i));
    const ks = s.whose < 0 ? [...Array(t.k).keys()] : [s.whose];
    if (s.curves === 'loss terms') return TERMS.map((name, i) => ({ name, colour: this.b.colours[i], values: over(at =>
      ks.reduce((a, k) => a + t.terms[name][k * t.m + run.chosen[at * t.k + k]], 0) / ks.length) }));
    if (s.whose >= 0) return Array.from({ length: t.m }, (_, m) => ({ name: String(m), colour: this.b.colours[m % 8], values: over(at => run.probabilities[at * n + s.whose * t.m + m]), range: [0, 1] }));
    return ks.map(k => { const m = run.chosen[(run.steps - 1) * t.k + k];
      return { name: String(k), colour: this.colour(k), values: over(at => run.probabilities[at * n + k * t.m + m]), range: [0, 1] }; });
  }

  chart(canvas, series, step, name) {
    const { ctx, width, height } = surface(canvas, 150), left = 44, right = 58, top = 8, bottom = 20;
    const all = series.flatMap(c => [...c.values].filter(Number.isFinite));
    const [low, high] = series[0]?.range ?? [Math.min(...all), Math.max(...all)], span = high - low || 1;
    const steps = Math.max(...series.map(c => c.values.length)) - 1 || 1;
    const px = i => left + i / steps * (width - left - right), py = v => top + (high - v) / span * (height - top - bottom);
    ctx.strokeStyle = this.line; ctx.lineWidth = 1; ctx.fillStyle = this.soft; ctx.textBaseline = 'middle'; ctx.textAlign = 'right';
    for (const v of [low, (low + high) / 2, high]) {
      ctx.beginPath(); ctx.moveTo(left, py(v)); ctx.lineTo(width - right, py(v)); ctx.stroke();
      ctx.fillText(num(v, 2), left - 5, py(v));
    }
    ctx.textAlign = 'center';
    for (const i of [0, Math.round(steps / 2), steps]) ctx.fillText(String(i), px(i), height - 8);
    ctx.strokeStyle = this.soft; ctx.setLineDash([3, 3]);
    ctx.beginPath(); ctx.moveTo(px(Math.min(step, steps)), top); ctx.lineTo(px(Math.min(step, steps)), height - bottom); ctx.stroke(); ctx.setLineDash([]);
    const ends = [];
    series.forEach((c, n) => {
      ctx.strokeStyle = c.colour; ctx.lineWidth = 2; ctx.beginPath();
      c.values.forEach((v, i) => i ? ctx.lineTo(px(i), py(v)) : ctx.moveTo(px(i), py(v)));
      ctx.stroke();
      const at = Math.min(step, c.values.length - 1);
      ctx.fillStyle = c.colour; ctx.beginPath(); ctx.arc(px(at), py(c.values[at]), 4, 0, 7); ctx.fill();
      ends.push({ c, y: py(c.values.at(-1)), x: px(c.values.length - 1) });
    });
    ctx.textAlign = 'left';
    ends.sort((a, b) => a.y - b.y);
    const room = Math.min(12, (height - top - bottom) / Math.max(ends.length - 1, 1));
    ends.forEach((e, i) => { e.y = Math.max(e.y, i ? ends[i - 1].y + room : top); });
    const over = ends.length ? Math.max(0, ends.at(-1).y - (height - bottom)) : 0;
    for (const e of ends) {
      ctx.fillStyle = e.c.colour; ctx.fillRect(width - right + 4, e.y - over - 4, 7, 7);
      ctx.fillStyle = this.ink; ctx.fillText(e.c.name, width - right + 14, e.y - over, right - 14);
    }
    canvas.setAttribute('aria-label', `${name}: ` + series.slice(0, 8).map(c =>
      `${c.name} from ${num(c.values[0])} to ${num(c.values.at(-1))}`).join('; '));
  }

  play() {
    if (this.playing) return this.stop();
    const last = Math.max(...Object.values(this.t.runs).map(r => r.steps)) - 1;
    if (this.s.step >= last) this.set({ step: 0 });
    this.playing = setInterval(() => {
      if (this.s.step >= last || !this.root.isConnected) return this.stop();
      this.set({ step: this.s.step + 1 });
    }, matchMedia('(prefers-reduced-motion: reduce)').matches ? 700 : 180);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = null;
    this.draw();
  }

  // ---- ranking

  limits() {
    const start = weightsOf(this.b.config);
    return Object.fromEntries(WEIGHTS.map(n => [n, Math.max(TERMS.includes(n) ? 3 : 4, 2 * start[n])]));
  }

  rankingView() {
    const { t } = this, limits = this.limits();
    const labels = { alpha: 'alpha (fits the text)', beta: 'beta (resembles the source)', source: 'evidence (the source was in the box)',
      clip: 'lambda clip', dir: 'lambda dir', str: 'lambda str' };
    const names = WEIGHTS.filter(n => n !== 'source' || t.src);
    const sliders = Object.fromEntries(names.map(n => [n, this.slider(labels[n], { max: limits[n], step: .01,
      read: () => this.s.w[n], write: v => this.turn(n, v) })]));
    for (const n of names) sliders[n].input.addEventListener('focus', () => this.set({ turned: n }));
    const how = this.option('boxes', 'how', () => [['learned', 'learned by the network'], ['best', 'lowest loss of the table']]);
    const reset = h('button', { type: 'button', onclick: () => {
      this.set({ w: weightsOf(this.b.config), how: 'learned' });
      this.follow();
    } }, 'as it was');
    const words = h('p', { 'aria-live': 'polite', class: 'rex-words' }), list = h('ol', { class: 'rex-ranks' });
    const map = h('canvas', { class: 'rex-winners', tabindex: 0, role: 'application' });
    const move = (alpha, beta) => {
      this.set({ w: { ...this.s.w, alpha: clamp(alpha, 0, limits.alpha), beta: clamp(beta, 0, limits.beta) } });
      this.follow();
    };
    const drag = e => { if (e.buttons) move((e.offsetX - 34) / (map.clientWidth - 42) * limits.alpha, (1 - (e.offsetY - 8) / (map.clientHeight - 40)) * limits.beta); };
    map.addEventListener('pointerdown', drag); map.addEventListener('pointermove', drag);
    map.addEventListener('keydown', e => {
      const d = e.shiftKey ? .5 : .05, to = { ArrowLeft: [-d, 0], ArrowRight: [d, 0], ArrowUp: [0, d], ArrowDown: [0, -d] }[e.key];
      if (!to) return;
      e.preventDefault(); move(this.s.w.alpha + to[0], this.s.w.beta + to[1]);
    });
    const draw = () => {
      [how, ...Object.values(sliders)].forEach(c => c.refresh());
      words.textContent = this.rankingWords();
      this.drawRanks(list);
      this.drawWinners(map, limits);
    };
    return { name: 'ranking', title: 'Ranking', draw, content: [
      h('p', { class: 'rex-ask' }, 'Who wins, and how narrowly?'), words,
      h('div', { class: 'rex-sliders' }, names.map(n => sliders[n])), h('div', { class: 'rex-row' }, how, reset), list,
      h('p', { class: 'rex-soft rex-legend' }, h('i'), 'alpha x text ', h('i'), 'beta x source ', t.src ? [h('i'), 'evidence'] : null, this.s.w.all ? '; less lambda dir x dir and lambda str x str' : null),
      h('p', { class: 'rex-sub' }, 'the winning anchor by alpha and beta'), h('div', {}, map)] };
  }

  rankingWords() {
    const { s, t } = this, top = this.ranked[0];
    if (!top) return 'No candidate is known.';
    const name = s.turned, label = { source: 'evidence', clip: 'lambda clip', dir: 'lambda dir', str: 'lambda str' }[name] ?? name;
    if (WEIGHTS.slice(0, 3).every(n => !s.w[n] || (n === 'source' && !t.src)) && !(s.w.all && (s.w.dir || s.w.str)))
      return `All weights of the score are 0: every score is the same, and anchor ${top.k} stands first only because it is the first.`;
    const said = [`Anchor ${top.k} with proposal ${top.m} comes first at ${label} = ${s.w[name].toFixed(2)}`
      + (this.ranked[1] ? `, ahead by ${num(top.score - this.ranked[1].score, 4)}.` : ', alone.')];
    const end = this.limits()[name], near = (v, sign) => (sign > 0 ? Math.ceil(v * 1e4) : Math.floor(v * 1e4)) / 1e4;
    const tell = (sign, stop) => {
      const next = nextChange(t, s.w, s.how, name, sign, stop);
      return next && `${sign > 0 ? 'above' : 'below'} ${near(next.value, sign).toFixed(3)} anchor ${next.k} with proposal ${next.m}`;
    };
    const found = [tell(-1, 0), tell(1, end)].filter(Boolean);
    if (found.length) said.push(`The next change of winner as ${label} moves: ${found.join('; ')}.`);
    else if (TERMS.includes(name) && s.how === 'learned') said.push('The boxes are those that were learned: this weight moves them once it is turned.');
    else said.push(`It stays first for every ${label} from 0 to ${end.toFixed(0)}.`);
    return said.join(' ');
  }

  drawRanks(list) {
    const { s, t } = this, shown = this.ranked.slice(0, 12), w = s.w;
    const parts = e => [['text', w.alpha * t.t2i[e.i]], ['source', w.beta * t.i2i[e.i]], ...(t.src ? [['in the box', w.source * t.src[e.i]]] : [])];
    const most = Math.max(...this.ranked.map(e => parts(e).reduce((a, p) => a + Math.max(p[1], 0), 0)), 1e-9);
    while (list.children.length > shown.length) list.lastChild.remove();
    while (list.children.length < shown.length) {
      const n = list.children.length;
      list.append(h('li', {}, h('button', { type: 'button', onclick: () => this.select(this.ranked[n].k, this.ranked[n].m) },
        h('span', { class: 'rex-name' }), h('span', { class: 'rex-parts' }, h('i'), h('i'), h('i')), h('span', { class: 'rex-score' }), h('span', { class: 'rex-hidden' }))));
    }
    shown.forEach((e, n) => {
      const button = list.children[n].firstChild, [name, bars, score, more] = button.children;
      name.textContent = `anchor ${e.k}, prop. ${e.m}`;
      parts(e).forEach(([, v], j) => { bars.children[j].style.width = `${100 * Math.max(v, 0) / most}%`; });
      score.textContent = num(e.score);
      button.setAttribute('aria-pressed', e.k === s.k && e.m === s.m);
      more.textContent = `, place ${n + 1}, made of ${parts(e).map(([p, v]) => `${p} ${num(v)}`).join(', ')}`;
    });
  }

  drawWinners(canvas, limits) {
    const { s, t } = this, size = 61, { ctx, width, height } = surface(canvas, wide => Math.min(wide * .7, 250));
    const steps = top => Float64Array.from({ length: size }, (_, i) => top * i / (size - 1));
    const who = winnerMap(t, s.w, s.how, steps(limits.alpha), steps(limits.beta));
    const inner = [34, 8, width - 42, height - 40], [x0, y0, wide, high] = inner;
    const middle = {}, colours = new Array(size * size);
    who.forEach((k, i) => {
      const row = Math.floor(i / size), column = i % size, c = k < 0 ? [128, 128, 128] : rgb(this.colour(k));
      colours[(size - 1 - row) * size + column] = [...c, 255];
      const at = middle[k] ??= { n: 0, x: 0, y: 0, cells: [] };
      at.n++; at.x += column; at.y += row; at.cells.push([column, row]);
    });
    tiles(ctx, colours, size, x0, y0, wide, high);
    ctx.textAlign = 'center'; ctx.textBaseline = 'middle'; ctx.font = 'bold 14px system-ui, sans-serif';
    for (const [k, at] of Object.entries(middle)) if (k >= 0 && at.n > size * size * .01) {
      const far = ([c, r]) => (c - at.x / at.n) ** 2 + (r - at.y / at.n) ** 2;
      const [c, r] = at.cells.reduce((a, b) => far(b) < far(a) ? b : a);
      ctx.fillStyle = inkOn(rgb(this.colour(k)));
      ctx.fillText(k, x0 + (c + .5) / size * wide, y0 + (1 - (r + .5) / size) * high);
    }
    ctx.font = '12px system-ui, sans-serif';
    const px = x0 + s.w.alpha / limits.alpha * wide, py = y0 + (1 - s.w.beta / limits.beta) * high;
    for (const [ink, line] of [['#fff', 5], ['#000', 2.5]]) { ctx.beginPath(); ctx.arc(px, py, 8, 0, 7); ctx.strokeStyle = ink; ctx.lineWidth = line; ctx.stroke(); }
    ctx.fillStyle = this.soft;
    ctx.textAlign = 'left'; ctx.fillText('0', x0, y0 + high + 10); ctx.textAlign = 'right'; ctx.fillText(limits.alpha.toFixed(0), x0 + wide, y0 + high + 10);
    ctx.textAlign = 'center'; ctx.fillText('alpha', x0 + wide / 2, y0 + high + 22);
    ctx.textAlign = 'right'; ctx.fillText('0', x0 - 6, y0 + high - 6); ctx.fillText(limits.beta.toFixed(0), x0 - 6, y0 + 6); ctx.fillText('beta', x0 - 4, y0 + high / 2);
    canvas.setAttribute('aria-label', `Map of the winner. At alpha ${s.w.alpha.toFixed(2)} and beta ${s.w.beta.toFixed(2)} anchor ${this.ranked[0]?.k ?? 'none'} wins; on the map: `
      + Object.entries(middle).sort((a, b) => b[1].n - a[1].n).map(([k, at]) => `anchor ${k} ${percent(at.n / size / size)}`).join(', ') + '. Arrow keys move.');
  }

  // ---- the painter's steps, and the diagnosis

  painterView() {
    const { b } = this, last = b.painter.length - 1, words = h('p', { 'aria-live': 'polite' }), maps = h('div', { class: 'rex-maps' });
    const step = this.slider('step', { max: Math.max(last, 0), step: 1, read: () => this.s.painter, write: v => this.set({ painter: v }), text: v => `${v + 1} of ${last + 1}` });
    const ask = this.asker('watch the painter (1 edit)', () => ({ do: 'paint' }));
    const draw = () => {
      ask.refresh();
      if (last < 0) { words.textContent = 'The steps of this edit were not recorded.'; return; }
      step.refresh();
      const { sentence, maps: seen } = b.painter[this.s.painter];
      words.textContent = sentence;
      const names = Object.keys(seen);
      if (maps.children.length !== names.length) maps.replaceChildren(...names.map(name => h('figure', {}, h('div', {}, h('canvas', { role: 'img' })), h('figcaption', {}, name))));
      names.forEach((name, i) => this.drawTileMap(maps.children[i].querySelector('canvas'), name, seen[name]));
    };
    return { name: 'painter', title: 'Painter', draw, content: [h('p', { class: 'rex-ask' }, 'How was it painted?'), last < 0 ? ask : step, words, maps,
      h('p', { class: 'rex-soft' }, last < 0 ? '' : 'The step is on the right of the line.')] };
  }

  drawTileMap(canvas, name, map) {      // latents, tokens, confidence or what is unknown, a cell each
    const values = unpack(map), [gh, gw] = map.shape, known = [...values].filter(Number.isFinite);
    const low = Math.min(...known), span = Math.max(...known) - low || 1, token = name === 'tokens';
    const { ctx, width, height } = surface(canvas, wide => wide * gh / gw);
    // a token has no size: its number only picks a colour
    const mixed = v => [37, 91, 151].map(p => 60 + (v * p + 29 * p) % 180);
    tiles(ctx, Array.from(values, v => !Number.isFinite(v) || (token && v < 0) ? [128, 128, 128, 255]
      : [...token ? mixed(v) : ramp(name === 'unknown' ? 'cividis' : 'inferno', (v - low) / span), 255]), gw, 0, 0, width, height);
    canvas.setAttribute('aria-label', token ? `${known.filter(v => v >= 0).length} of ${values.length} tokens are known; unknown ones are grey`
      : name === 'unknown' ? `${known.filter(v => v > 0).length} of ${values.length} tokens are unknown` : `${name}, from ${num(low, 2)} to ${num(low + span, 2)}, ${gw} x ${gh} cells`);
  }

  wordsView() {
    return { name: 'words', title: 'Diagnosis', draw: () => {}, content: [
      h('p', { class: 'rex-ask' }, 'Did it succeed, and if not, why?'), ...this.notes(), ...this.said()] };
  }

  notes() {                             // what these models do not know: to be read first
    return this.b.words.notes.map(n => h('p', { class: 'rex-note' }, n));
  }

  said() {                              // the diagnosis
    const { words } = this.b, answers = { yes: 'Yes', unsure: 'Not sure', partly: 'Partly', no: 'No' };
    return [words.answer ? h('p', { class: 'rex-answer' }, answers[words.answer]) : null, h('p', {}, words.verdict),
      words.findings.length ? h('ul', {}, words.findings.map(f => h('li', {}, f.sentence, ' ', h('em', {}, f.remedy)))) : h('p', {}, 'Of the rules that could be asked, none found a fault.')].filter(Boolean);
  }

  // ---- your own: a box, anchors, words

  asker(text, message, able = () => true) {     // a button that asks the kernel; says why it cannot
    const made = h('button', { type: 'button', onclick: () => { if (!this.working()) this.ask(message()); } });
    made.refresh = () => {
      made.textContent = typeof text === 'function' ? text() : text;
      made.disabled = !!this.why() || !able();
      made.setAttribute('aria-disabled', made.disabled || this.working());
      made.title = this.why();
    };
    made.refresh();
    return made;
  }

  setOwn([x0, y0, x1, y1]) {            // a box inside the picture, at least a pixel large
    const [w, hi] = this.b.size, span = (a, b, end) => {
      const low = clamp(Math.round(Math.min(a, b)), 0, end - 1);
      return [low, clamp(Math.round(Math.max(a, b)), low + 1, end)];
    };
    const [a, c] = span(x0, x1, w), [d, e] = span(y0, y1, hi);
    this.set({ own: [a, d, c, e], look: -1 });
  }

  setAnchor(i, x, y) {
    const [w, hi] = this.b.size, anchors = this.s.anchors.map((p, j) => j === i ? [clamp(x, 0, w - 1), clamp(y, 0, hi - 1)] : p);
    this.set({ anchors, rule: 'by hand', grip: i });
  }

  addAnchor(x, y) {
    const { anchors } = this.s;
    this.s.anchors = [...anchors, [x, y]];
    this.setAnchor(anchors.length, x, y);
  }

  dropAnchor(i) {
    const anchors = this.s.anchors.filter((_, j) => j !== i);
    this.set({ anchors, rule: 'by hand', grip: clamp(i, 0, Math.max(anchors.length - 1, 0)) });
  }

  ownPress(u, v) {
    const { s, pressed } = this, [w, hi] = this.b.size, x = u * w, y = v * hi, reach = 14 * w / this.stage.clientWidth;
    const near = ([a, b]) => Math.hypot(a - x, b - y) < reach;
    if (s.tool === 'anchors') {
      pressed.grip = s.anchors.findIndex(near);
      if (pressed.grip < 0) { pressed.grip = s.anchors.length; pressed.moved = true; this.addAnchor(x, y); }
      else this.set({ grip: pressed.grip });
      return;
    }
    const [x0, y0, x1, y1] = s.own, corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], at = corners.findIndex(near);
    pressed.from = at >= 0 ? corners[(at + 2) % 4] : [x, y];
    pressed.box = at < 0 && x0 <= x && x < x1 && y0 <= y && y < y1 ? s.own : null;   // moved whole
  }

  ownMove(u, v) {
    const { s, pressed } = this, [w, hi] = this.b.size, x = u * w, y = v * hi;
    if (Math.hypot(u - pressed.u, v - pressed.v) * this.stage.clientWidth > 3) pressed.moved = true;
    if (!pressed.moved) return;
    if (s.tool === 'anchors') return this.setAnchor(pressed.grip, x, y);
    if (pressed.box) return this.shiftOwn(pressed.box, (u - pressed.u) * w, (v - pressed.v) * hi);
    this.setOwn([...pressed.from, x, y]);
  }

  shiftOwn([x0, y0, x1, y1], dx, dy) {
    const [w, hi] = this.b.size;
    dx = clamp(Math.round(dx), -x0, w - x1); dy = clamp(Math.round(dy), -y0, hi - y1);
    this.setOwn([x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
  }

  ownRelease(was) { if (was && !was.moved && this.s.tool === 'anchors') this.dropAnchor(was.grip); }

  ownKey(e) {
    const { s } = this, [w, hi] = this.b.size, step = Math.max(1, Math.round(w / 128));
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[e.key];
    const turn = { PageUp: -1, PageDown: 1 }[e.key], n = s.anchors.length, hand = s.tool === 'anchors';
    if (by && hand && n) this.setAnchor(s.grip, s.anchors[s.grip][0] + by[0], s.anchors[s.grip][1] + by[1]);
    else if (by && e.shiftKey) this.setOwn([s.own[0], s.own[1], s.own[2] + by[0], s.own[3] + by[1]]);
    else if (by && !hand) this.shiftOwn(s.own, ...by);
    else if (turn && n) this.set({ grip: (s.grip + turn + n) % n });
    else if (e.key === 'Delete' && hand && n) this.dropAnchor(s.grip);
    else if (e.key === 'Enter' && hand) this.addAnchor(w / 2, hi / 2);
    else return;
    e.preventDefault();
  }

  lookColour(name) { return this.b.colours[{ learned: 1, true: 2 }[name] ?? 0]; }

  overOwn(ctx, to) {
    const { s, b, t } = this, look = b.looks[s.look];
    if (look) return this.drawBox(ctx, to, look.box, this.lookColour(look.name), 3);
    if (b.truth) this.drawBox(ctx, to, b.truth, this.lookColour('true'), 2, [6, 4]);
    if (t.candidates.length) this.drawBox(ctx, to, this.box(...t.candidates[0]), this.lookColour('learned'), 2, [6, 4]);
    if (s.tool === 'anchors') return s.anchors.forEach((p, k) => this.drawAnchor(ctx, to, k, p, k === s.grip));
    const [x0, y0, x1, y1] = s.own;
    this.drawBox(ctx, to, s.own, this.lookColour('own'), 3);
    for (const [x, y] of [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) {
      const [u, v] = to(x, y);
      ctx.fillStyle = '#fff'; ctx.strokeStyle = '#000'; ctx.lineWidth = 1;
      ctx.fillRect(u - 5, v - 5, 10, 10); ctx.strokeRect(u - 5, v - 5, 10, 10);
    }
  }

  ownWords() {
    const { s, b } = this, look = b.looks[s.look], [x0, y0, x1, y1] = s.own;
    if (look) return `The edit in the ${look.name} box (${look.box.join(', ')}), score ${num(look.score)}.`;
    if (s.tool === 'anchors') return s.anchors.length ? `${s.anchors.length} anchors; anchor ${s.grip} is at (${s.anchors[s.grip].map(Math.round).join(', ')}).` : 'No anchor.';
    return `Your box (${s.own.join(', ')}), ${x1 - x0} x ${y1 - y0} pixels. Dashed: the learned box${b.truth ? ', and the true one' : ''}.`;
  }

  field(label, end, read, write) {      // a whole number from 0
    const input = h('input', { type: 'number', min: 0, max: end, onchange: () => write(clamp(Math.round(Number(input.value)) || 0, 0, end)) });
    const made = h('label', { class: 'rex-option' }, label, input);
    made.refresh = () => { if (document.activeElement !== input) input.value = read(); };
    return made;
  }

  ownView() {
    const { b, t } = this, [w, hi] = b.size, many = () => `up to ${this.s.anchors.length * t.m} edits`;
    const tool = this.option('by hand', 'tool', () => [['box', 'a box'], ['anchors', 'anchors']]);
    const sides = ['left', 'top', 'right', 'bottom'].map((name, i) => this.field(name, i % 2 ? hi : w, () => this.s.own[i],
      v => { const own = [...this.s.own]; own[i] = v; this.setOwn(own); }));
    const at = i => Math.round(this.s.anchors[this.s.grip]?.[i] ?? 0);
    const which = this.option('anchor', 'grip', () => this.s.anchors.map((_, i) => [i, String(i)]));
    const points = [this.field('x', w - 1, () => at(0), v => this.setAnchor(this.s.grip, v, at(1))),
      this.field('y', hi - 1, () => at(1), v => this.setAnchor(this.s.grip, at(0), v))];
    const add = h('button', { type: 'button', onclick: () => this.addAnchor(w / 2, hi / 2) }, 'add');
    const drop = h('button', { type: 'button', onclick: () => this.dropAnchor(this.s.grip) }, 'take away');
    const asMade = h('button', { type: 'button', onclick: () => this.set({ rule: 'learned' }) }, 'as they were');
    const text = (label, name) => {
      const input = h('input', { type: 'text', value: this.s[name], oninput: () => { this.s[name] = input.value; } });
      return h('label', { class: 'rex-text' }, label, input);
    };
    const askers = [this.asker('edit in my box (1 edit)', () => ({ do: 'box', box: this.s.own })),
      ...b.truth ? [this.asker('edit in the true box (1 edit)', () => ({ do: 'true' }))] : []];
    const around = this.asker(`edit around this anchor (up to ${b.config.num_proposals} edits)`, () => ({ do: 'around', anchor: this.s.anchors[this.s.grip] }), () => this.s.anchors.length);
    const run = this.asker(() => `run the method again (${many()})`, () => ({ do: 'run', prompt: this.s.prompt, source: this.s.source,
      anchors: this.s.rule === 'learned' ? null : this.s.anchors }), () => this.s.anchors.length);
    const note = h('p', { class: 'rex-note' }), from = h('p', { class: 'rex-soft' }), strip = h('div', { class: 'rex-strip', role: 'group', 'aria-label': 'Edits side by side' });
    const table = h('table', { class: 'rex-table' }), boxRow = h('div', {}, h('div', { class: 'rex-row' }, sides), h('div', { class: 'rex-row' }, askers));
    const anchorRow = h('div', { class: 'rex-row' }, which, points, add, drop, asMade, around);
    const draw = () => {
      [tool, ...sides, which, ...points, ...askers, around, run].forEach(c => c.refresh());
      note.textContent = this.why(); note.hidden = !note.textContent;
      boxRow.hidden = this.s.tool !== 'box'; anchorRow.hidden = !boxRow.hidden;
      from.textContent = this.s.rule === 'learned' ? 'From the anchors as they were.' : `From ${this.s.anchors.length} anchors of your own.`;
      this.drawTiles(strip, b.looks.map((k, i) => ({ box: k.box, image: this.pasted(`l${i}${k.name}${k.box}`, k), colour: this.lookColour(k.name),
        words: `${k.name} box, ${num(k.score, 2)}`, more: '', on: i === this.s.look })), (_, i) => this.set({ look: i === this.s.look ? -1 : i }));
    };
    if (b.looks.length) table.replaceChildren(h('tr', {}, h('td', {}), ...['score', 'text', 'source', ...TERMS, 'prompt leads by'].map(n => h('th', { scope: 'col' }, n))),
      ...b.looks.map(k => h('tr', {}, h('th', { scope: 'row' }, k.name), ...[k.score, k.s_t2i, k.s_i2i, ...TERMS.map(n => k.losses[n]), k.drawn].map(v => h('td', {}, num(v))))));
    return { name: 'own', title: 'Your own', draw, content: [h('p', { class: 'rex-ask' }, 'And if it had been elsewhere, or something else?'), note,
      h('div', { class: 'rex-row' }, tool, h('span', { class: 'rex-soft' }, 'Draw and drag on the picture; nothing is edited until a button is pressed.')), boxRow, anchorRow,
      h('div', { class: 'rex-row' }, text('prompt', 'prompt'), text('source', 'source')), h('div', { class: 'rex-row' }, run, from),
      strip, h('div', { class: 'rex-scroll' }, table), ...b.looks.length ? this.said() : []] };
  }
}

// ------------------------------------------------------------------ the preference study

class StudyPage extends Page {
  constructor(host, bundle) {
    super();
    Object.assign(this, { host, b: bundle, wish: 'answer' });
    this.status = () => ({ state: 'idle', why: '' });
    this.open();
    this.watch();
  }

  merge() {
    this.asked = 0;
    this.b = this.model.get('bundle') ?? this.b;
    const had = document.activeElement && this.root.contains(document.activeElement);
    this.open();
    this.watch();
    if (had) this.root.focus();
  }

  open() {
    const { b } = this, live = !!this.model, question = b.state === 'question';
    const ask = (text, message, name) => h('button', { type: 'button', class: name, disabled: !live, onclick: () => this.ask(message()) }, text);
    const note = h('p', { class: 'rex-note', role: 'status' }, live ? b.note : this.why());
    note.hidden = !note.textContent;
    this.root = h('div', { class: 'rex rex-study', ...OWN_KEYS, role: 'group', 'aria-label': 'A study of preferences', tabindex: -1, onkeydown: e => this.key(e) });
    if (b.state === 'welcome') {
      const number = h('input', { type: 'number', min: 0, value: 0 });
      this.root.append(h('p', {}, 'You will see pictures that were changed by a program to fit a text, two at a time. Choose the one that answers the question better; if both are alike, go by your first impression.'),
        h('p', {}, 'Leave 0 for a new participant, or give your number to go on.'),
        h('div', { class: 'rex-row' }, h('label', { class: 'rex-option' }, 'participant', number), ask('Begin', () => ({ do: 'open', participant: Number(number.value) || null }))), note);
    } else {
      const figure = (title, src, button) => h('figure', {}, h('figcaption', {}, title),
        h('button', { type: 'button', class: 'rex-zoom', 'aria-label': `${title}: look closer`, onclick: () => this.zoom() }, h('img', { src, alt: title === 'before' ? 'The picture before' : `The ${title} picture` })), button);
      const choose = side => ask(side === 'left' ? '← left' : 'right →', () => ({ do: 'answer', side }), 'rex-choose');
      this.root.append(...question ? [h('p', {}, b.question), h('p', { class: 'rex-title' }, h('b', {}, `“${b.prompt}”`)),
        h('div', { class: 'rex-trio' }, figure('before', b.source), figure('left', b.left, choose('left')), figure('right', b.right, choose('right')))]
        : [h('p', { class: 'rex-title' }, `That was the last one: ${b.done} answers are saved. Thank you!`)],
      h('div', { class: 'rex-row' }, h('progress', { max: b.total, value: b.done, 'aria-label': 'questions answered' }), h('span', {}, `${b.done} of ${b.total}`),
        ask('undo', () => ({ do: 'undo' }))),
      h('p', { class: 'rex-soft' }, `You are participant ${b.participant}: give this number to go on after a pause. Keys: ← and → answer, Backspace takes the last answer back, z looks closer.`), note);
    }
    this.host.replaceChildren(this.root);
    this.drawNow();
  }

  key(e) {
    if (e.target.tagName === 'INPUT' || !this.model) return;
    const message = { ArrowLeft: { do: 'answer', side: 'left' }, ArrowRight: { do: 'answer', side: 'right' }, Backspace: { do: 'undo' } }[e.key];
    if (!message && e.key !== 'z') return;
    e.preventDefault();
    if (!message) this.zoom();
    else if (!this.asked && (message.do === 'undo' || this.b.state === 'question')) this.ask(message);
  }

  zoom() { this.root.classList.toggle('rex-close'); }

  hear() { this.asked = 0; }

  drawNow() { this.root.dataset.theme = themeOf(this.root); }
}

// ------------------------------------------------------------------ a notebook's host

export function render({ model, el }) { // once a place; returns its end
  const page = mount(el, model.get('bundle'));
  page.join(model);
  return () => page.close();
}
