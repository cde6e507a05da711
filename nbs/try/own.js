// "Your own words": a picture, what is there and what should be there; the edits are made by a worker in this page. Nothing is
// fetched but the pictures until "edit" is pressed.
import { engineFor } from './engine.js';

const host = document.getElementById('own-words'), base = new URL('models/', import.meta.url);
const MEGA = 1e6, MOST_LETTERS = 300, SAID = { wasm: 'WASM', webgpu: 'WebGPU' };

function h(tag, props = {}, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

const labelled = (text, control) => h('label', {}, h('span', {}, text), control);
const boxOf = box => `(${box.join(', ')})`;

// A bitmap as bytes, three a pixel: its middle square, scaled to the side the models know.
function toBytes(bitmap, side) {
  const canvas = h('canvas', { width: side, height: side }), pen = canvas.getContext('2d', { willReadFrequently: true });
  const least = Math.min(bitmap.width, bitmap.height);
  pen.fillStyle = 'white';
  pen.fillRect(0, 0, side, side);
  pen.imageSmoothingQuality = 'high';
  pen.drawImage(bitmap, (bitmap.width - least) / 2, (bitmap.height - least) / 2, least, least, 0, 0, side, side);
  const { data } = pen.getImageData(0, 0, side, side), bytes = new Uint8Array(side * side * 3);
  for (let i = 0; i < side * side; i++) bytes.set(data.subarray(i * 4, i * 4 + 3), i * 3);
  return { width: side, height: side, data: bytes };
}

function draw({ width, height, data }, label) {
  const canvas = h('canvas', { width, height, role: 'img', ariaLabel: label }), pen = canvas.getContext('2d');
  const pixels = pen.createImageData(width, height);
  for (let i = 0; i < width * height; i++) { pixels.data.set(data.subarray(i * 3, i * 3 + 3), i * 4); pixels.data[i * 4 + 3] = 255; }
  pen.putImageData(pixels, 0, 0);
  return canvas;
}

// Marks over a picture: boxes as outlines, points as dots; in shares of its side, so that they grow with it.
function marked(canvas, boxes, points = []) {
  const at = (v, n) => `${100 * v / n}%`, frame = h('div', { className: 'own-frame' }, canvas);
  for (const [x0, y0, x1, y1] of boxes) {
    const mark = h('div', { className: 'own-box' });
    Object.assign(mark.style, { left: at(x0, canvas.width), top: at(y0, canvas.height), width: at(x1 - x0, canvas.width), height: at(y1 - y0, canvas.height) });
    frame.append(mark);
  }
  for (const [x, y] of points) {
    const mark = h('div', { className: 'own-point' });
    Object.assign(mark.style, { left: at(x, canvas.width), top: at(y, canvas.height) });
    frame.append(mark);
  }
  return frame;
}

const menu = await fetch(new URL('models.json', base)).then(a => a.ok ? a.json() : null).catch(() => null);
if (!menu) host.textContent = 'The models of this part are not here. In a copy of the repository, python tools/web_models.py makes them.';
else {
  const { scenes, settings: { side, seeds }, files, engines } = menu, engine = await engineFor(navigator.gpu);
  const weight = Object.values({ ...files, ...engines[engine] }).reduce((a, b) => a + b, 0) / MEGA;
  const at = { scene: 0, own: null };
  const source = h('input', { type: 'text', className: 'form-control', required: true, pattern: '.*\\S.*', maxLength: MOST_LETTERS, value: scenes[0].source });
  const prompt = h('input', { type: 'text', className: 'form-control', required: true, pattern: '.*\\S.*', maxLength: MOST_LETTERS, value: scenes[0].prompt });
  const seed = h('select', { className: 'form-select' }, ...Array.from({ length: seeds }, (_, i) => h('option', { value: i }, String(i))));
  const file = h('input', { type: 'file', className: 'form-control', accept: 'image/*' });
  const start = h('button', { type: 'submit', className: 'btn btn-primary' }, 'edit');
  const stop = h('button', { type: 'button', className: 'btn btn-secondary', disabled: true }, 'stop');
  const status = h('p', { role: 'status' }, `Nothing is fetched yet. The models and their engine (${SAID[engine]}) weigh ${weight.toFixed(0)} MB and come with the first edit.`);
  const bar = h('progress', { max: 1, value: 0, hidden: true, ariaLabel: 'how far it is' });
  const notes = h('div', { role: 'alert' }), found = h('figure', { className: 'own-found' }), list = h('ol', { className: 'own-edits', ariaLabel: 'edits, best first' });

  const choices = h('fieldset', { className: 'try-scene' }, h('legend', {}, 'picture'), ...scenes.map((scene, i) => {
    const input = h('input', { type: 'radio', name: 'own-scene', checked: i === 0, ariaLabel: `${i + 1}: ${scene.source}` });
    input.addEventListener('change', () => { at.scene = i; at.own = null; file.value = ''; source.value = scene.source; prompt.value = scene.prompt; });
    return h('label', { title: scene.caption }, input, h('img', { src: new URL(scene.picture, base).href, alt: scene.caption, width: 72, height: 72 }));
  }));
  const aside = h('p', { className: 'own-aside' }, `A file of your own stays on your machine. Its middle square is scaled to ${side} x ${side} pixels; the models know drawings of this world only, so of a photograph expect little.`);
  const form = h('form', { className: 'try-form own-form' }, choices, labelled('or a file of your own', file), aside,
    labelled('what is there', source), labelled('what should be there', prompt), labelled('noise', seed), h('div', { className: 'own-buttons' }, start, stop));
  host.replaceChildren(form, status, bar, notes, found, list);

  file.addEventListener('change', async () => {
    at.own = null;
    if (!file.files.length) return;
    try {
      at.own = toBytes(await createImageBitmap(file.files[0]), side);
      choices.querySelectorAll('input').forEach(e => { e.checked = false; });
      found.replaceChildren(marked(draw(at.own, 'Your picture'), []), h('figcaption', {}, 'Your picture, as the models are shown it.'));
    } catch { status.textContent = 'The browser cannot read this file as a picture; choose a PNG, JPEG or WebP.'; file.value = ''; }
  });

  const picture = async () => at.own ?? toBytes(await createImageBitmap(
    await (await fetch(new URL(scenes[at.scene].picture, base))).blob(), { colorSpaceConversion: 'none' }), side);
  let worker = null, image = null, edits = [], wanted = 0;

  const busy = now => { start.disabled = now; stop.disabled = !now; bar.hidden = !now; };
  const say = text => { status.textContent = text; };
  const end = text => { busy(false); say(text); };
  const show = () => list.replaceChildren(...edits.map(({ image: made, box, score }, i) => h('li', {}, h('figure', {},
    marked(draw(made, `${prompt.value}: edit ${i + 1} of ${edits.length}, in the box ${boxOf(box)}`), [box]),
    h('figcaption', {}, `score ${score.toFixed(3)}, box ${boxOf(box)}`)))));
  const heard = {
    fetched: ({ fetched, total }) => { bar.max = total; bar.value = fetched; say(fetched < total ? `Fetched ${(fetched / MEGA).toFixed(1)} of ${(total / MEGA).toFixed(1)} MB.` : 'Everything is fetched; opening the models.'); },
    notes: ({ notes: said }) => {
      notes.replaceChildren(...said.map(t => h('p', { className: 'own-note' }, `Note: ${t}.`.replace(/\.\.$/, '.'))));
      say('Choosing anchors and boxes.');
      bar.removeAttribute('value');
    },
    found: ({ found: { anchors, chosen } }) => {
      wanted = chosen.length; bar.max = wanted; bar.value = 0;
      found.replaceChildren(marked(draw(image, `The picture, with ${anchors.length} anchors and the ${wanted} boxes that will be edited: ${chosen.map(boxOf).join(', ')}`), chosen, anchors),
        h('figcaption', {}, `Dots: the ${anchors.length} anchors. Frames: the boxes that are edited.`));
      say(`${anchors.length} anchors, ${wanted} boxes; painting edit 1 of ${wanted}.`);
    },
    edit: ({ edit }) => {
      edits = [...edits, edit].sort((a, b) => b.score - a.score || a.n - b.n);
      bar.value = edits.length;
      say(`${edits.length} of ${wanted} edits are finished, the best so far in ${boxOf(edits[0].box)}.`);
      show();
    },
    done: ({ done, by }) => end(`${edits.length} edits in ${done.toFixed(1)} s by ${SAID[by]}${by === engine ? '' : ', since WebGPU failed'}, the best in ${boxOf(edits[0].box)} with a score of ${edits[0].score.toFixed(3)}.`),
    stopped: () => end(`Stopped; ${edits.length} of ${wanted || 'the'} edits were made.`),
    failed: ({ failed }) => end(`This could not be done here (${failed}).`),
  };

  form.addEventListener('submit', async event => {
    event.preventDefault();
    busy(true);
    edits = []; wanted = 0; list.replaceChildren(); notes.replaceChildren(); found.replaceChildren();
    say('Fetching the models.');
    try {
      image = await picture();
      if (!worker) {
        worker = new Worker(new URL('painter.js', import.meta.url), { type: 'module' });
        worker.onmessage = ({ data }) => heard[Object.keys(data).find(k => k in heard)](data);
        worker.onerror = error => { worker.terminate(); worker = null; end(`This could not be done here (${error.message || 'the script of the models cannot be read'}).`); };
      }
      worker.postMessage({ edit: { image, source: source.value.trim(), prompt: prompt.value.trim(), seed: Number(seed.value) }, engine });
    } catch (error) { end(`This could not be done here (${error.message}).`); }
  });
  stop.addEventListener('click', () => { worker?.postMessage({ stop: true }); say('Stopping.'); });
}
