// The amortised edit without a server, in a worker: the models are fetched when the first edit is asked for. Messages in:
// { edit: { image, source, prompt, seed }, engine } or { stop: true }; out: { fetched }, { notes }, { found }, { edit },
// { done, by }, { failed }.
import { bySize, fitBoxes, spreadAnchors, worthEditing } from './boxes.js';
import { openGraph } from './engine.js';
import { crop, fromPlanes, maskOf, paste, planes, resize, windowAndMask, withoutSeam } from './pixels.js';
import { openKnown, openTokenizer, straight } from './words.js';

const base = new URL('models/', import.meta.url), GRAPHS = ['eyes', 'edges', 'seen', 'said', 'guide', 'reads', 'hole', 'step', 'paints', 'judge'];
const HEAVY = ['seen', 'hole', 'step', 'paints'];       // nearly all of the time goes there
const AT_ONCE = 8;        // pictures that CLIP looks at together
let ort = null;           // onnxruntime-web, once it is fetched

// A file, unpacked, while `heard` is told of every piece that arrives.
async function get(name, heard) {
  const answer = await fetch(new URL(name, base));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  const parts = [], reader = answer.body.getReader();
  for (let part; !(part = await reader.read()).done;) { parts.push(part.value); heard(part.value.length); }
  const file = new Blob(parts), [a, b] = new Uint8Array(await file.slice(0, 2).arrayBuffer());
  const packed = a === 0x1f && b === 0x8b;        // some hosts unpack it on the way
  return packed ? new Response(file.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer() : file.arrayBuffer();
}

async function load(engine, tell) {
  const { files, engines, settings } = await (await fetch(new URL('models.json', base))).json();
  const [script, , binary] = Object.keys(engines[engine]), sizes = { ...files, ...engines[engine] };
  const names = [binary, ...[...GRAPHS.map(n => `${n}.onnx`), 'noise.f32', 'words.json'].map(n => `${n}.gz`)];
  const total = names.reduce((sum, n) => sum + sizes[n], 0);
  let loaded = 0;
  const heard = count => tell({ fetched: loaded += count, total });
  const [wasmBinary, ...rest] = await Promise.all(names.map(n => get(n, heard)));
  ort = await import(new URL(script, base));
  Object.assign(ort.env.wasm, { wasmBinary, numThreads: 1 });         // more would need headers that a plain host does not send
  const device = { by: engine }, sessions = {};
  for (const [i, name] of GRAPHS.entries()) sessions[name] = await openGraph(
    by => ort.InferenceSession.create(rest[i], { executionProviders: [by] }), HEAVY.includes(name) ? device : { by: 'wasm' });
  const words = JSON.parse(new TextDecoder().decode(rest.at(-1)));
  return { settings, sessions, device, noise: new Float32Array(rest.at(-2)), tokens: openTokenizer(words), known: openKnown(words.known), lengths: words.lengths };
}

const float = (data, ...dims) => new ort.Tensor('float32', data, dims);
const whole = (data, ...dims) => new ort.Tensor('int32', Int32Array.from(data), dims);
const one = value => new ort.Tensor('float32', Float32Array.of(value), []);
const breathe = () => new Promise(resolve => setTimeout(resolve));      // a message may come in between

class Stopped extends Error {}

// What a painter's notes in Python say: words without meaning to the models, an alien picture, a text that is cut.
function notesOf({ known, tokens, lengths }, { source, prompt }, alien) {
  const count = tokens.count(prompt), notes = [];
  if (alien) notes.push(`the picture is unlike those that these models were trained on (drawn scenes); ${known.advice}`);
  if (known.remark(prompt, source)) notes.push(known.remark(prompt, source));
  if (count > lengths.painter) notes.push(`the editor reads ${lengths.painter} tokens; of the prompt, which has ${count}, the first ${lengths.painter} are used. Put what matters first, or say it shorter.`);
  for (const text of [prompt, source]) if (tokens.count(straight(text)) > lengths.clip)
    notes.push(`this CLIP reads ${lengths.clip} tokens; of the text '${text.slice(0, 40)}...' the first ${lengths.clip} were used, the rest is ignored. Put what matters first, or say it shorter.`);
  return notes;
}

// CLIP's features of pictures, each squashed to the square it sees.
async function see({ sessions, settings: { side } }, images) {
  const pooled = [], tokens = [];
  for (let i = 0; i < images.length; i += AT_ONCE) {
    const some = images.slice(i, i + AT_ONCE).map(im => resize(im, side, side, 'bicubic'));
    const found = await sessions.seen.run({ pixels: float(planes(...some), some.length, 3, side, side) });
    const [n, width] = found.pooled.dims, [, places, channels] = found.tokens.dims;
    for (let j = 0; j < n; j++) {
      pooled.push(found.pooled.data.subarray(j * width, (j + 1) * width));
      tokens.push(float(found.tokens.data.subarray(j * places * channels, (j + 1) * places * channels), 1, places, channels));
    }
    await breathe();
  }
  return { pooled, tokens };
}

// attend and propose: anchors and their boxes, in pixels
async function propose(models, found) {
  const { sessions, settings: { side, anchors: count, proposals } } = models, [gh, gw] = found.attention.dims;
  const anchors = spreadAnchors(found.attention.data, gw, gh, side, count), cell = side / 32, cells = found.boxes.data;
  const rows = fitBoxes(found.z.data, cells, anchors.map(at => at.map(v => v / cell)), proposals);
  const coarse = rows.flat().flatMap(i => Array.from(cells.subarray(i * 4, i * 4 + 4), v => v * cell));
  const { sharp } = await sessions.edges.run({ words: found.words, boxes: whole(coarse, count * proposals, 4) });
  const boxes = rows.map((row, k) => bySize(row.map((_, m) => Array.from(sharp.data.subarray((k * proposals + m) * 4).subarray(0, 4)))));
  return { anchors, boxes };
}

// foresee: the boxes worth editing, best first
async function choose(models, image, found, boxes, texts, source) {
  const { sessions } = models, flat = boxes.flat(), distinct = [...new Map(flat.map(b => [b.join(), b])).entries()];
  const seen = await see(models, distinct.map(([, box]) => crop(image, box)));
  const at = new Map(distinct.map(([name], i) => [name, i])), width = source.length, crops = new Float32Array(flat.length * width);
  flat.forEach((box, i) => crops.set(seen.pooled[at.get(box.join())], i * width));
  const said = await sessions.guide.run({
    features: found.features, attention: found.attention, boxes: whole(flat.flat(), boxes.length, boxes[0].length, 4),
    crops: float(crops, flat.length, width), picture: float(source, width), texts });
  const moved = boxes.map((row, k) => row.map((_, m) => Array.from(said.moved.data.subarray((k * row.length + m) * 4).subarray(0, 4))));
  return worthEditing(said.shares.data, said.logits.data, moved);
}

// paint: the picture with one box edited
async function paint(models, image, box, context, seed, alive) {
  const { sessions, settings: { window: size, context: around, schedule, step } } = models;
  const { window, shown, hole } = windowAndMask(image, box, size, around);
  const pixels = float(planes(shown), 1, 3, size, size), mask = float(maskOf(hole, size), 1, 1, size, size);
  const { fixed } = await sessions.hole.run({ pixels, mask }), [, channels, h, w] = fixed.dims, length = (channels - 1) * h * w;
  let latents = float(models.noise.subarray(seed * length, (seed + 1) * length), 1, channels - 1, h, w);
  for (const { t, now, then } of schedule) {
    const time = new ort.Tensor('int64', BigInt64Array.of(BigInt(t)), []);
    latents = (await sessions.step.run({ latents, fixed, context, t: time, now: one(now), then: one(then) })).next;
    await breathe();
    alive();
  }
  const { painted } = await sessions.paints.run({ latents, pixels, mask });
  return paste(image, withoutSeam(fromPlanes(painted.data, size, size), shown, hole, step), window, box);
}

// The whole edit, one verb after the other.
async function edit(models, { image, source, prompt, seed }, tell, alive) {
  const { sessions, settings, known, tokens, lengths } = models, { side } = settings;
  const small = resize(image, side / 4, side / 4, 'box');
  const found = await sessions.eyes.run({ pixels: float(planes(image), 1, 3, side, side), small: float(planes(small), 1, 3, side / 4, side / 4) });
  tell({ notes: notesOf(models, { source, prompt }, found.alien.data[0] > 0) });
  alive();
  const { anchors, boxes } = await propose(models, found);
  const ids = [prompt, source].flatMap(text => tokens.ids(straight(text), lengths.clip));
  const { texts } = await sessions.said.run({ ids: whole(ids, 2, lengths.clip) }), before = await see(models, [image]);
  const chosen = await choose(models, image, found, boxes, texts, before.pooled[0]);
  tell({ found: { anchors, boxes, chosen } });
  const read = ['', prompt].flatMap(text => tokens.ids(text, lengths.painter));
  const { context } = await sessions.reads.run({ ids: whole(read, 2, lengths.painter) });
  const weight = known.unknown(source).length ? 0 : settings.source_weight;
  for (const [n, box] of chosen.entries()) {
    alive();
    const made = await paint(models, image, box, context, seed, alive);
    const { pooled: [pooled, inside], tokens: [places] } = await see(models, [made, crop(image, box)]), width = pooled.length;
    const { parts } = await sessions.judge.run({ pooled: float(pooled, 1, width), tokens: places, source: before.tokens[0], box: float(inside, 1, width), texts });
    const [text, picture, evidence] = parts.data;
    tell({ edit: { n, box, image: made, score: settings.alpha * text + settings.beta * picture + weight * evidence } });
  }
}

let models = null, stopped = false;
const alive = () => { if (stopped) throw new Stopped(); };

self.onmessage = async ({ data }) => {
  if (data.stop) { stopped = true; return; }
  stopped = false;
  try {
    models ??= await load(data.engine, self.postMessage.bind(self));
    const start = performance.now();
    alive();
    await edit(models, data.edit, self.postMessage.bind(self), alive);
    self.postMessage({ done: (performance.now() - start) / 1000, by: models.device.by });
  } catch (error) {
    self.postMessage(error instanceof Stopped ? { stopped: true } : { failed: error.message });
  }
};
