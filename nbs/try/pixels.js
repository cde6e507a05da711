// Pictures as Pillow and regionedit.method.edits make them, to the last bit. A picture is { width, height, data }, data three
// bytes a pixel; boxes are (x0, y0, x1, y1) in pixels, half-open.

// Python's round: halves to the even number.
export function even(x) {
  const low = Math.floor(x), rest = x - low;
  return rest < .5 || (rest === .5 && low % 2 === 0) ? low : low + 1;
}

const sinc = x => x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
const FILTERS = {       // name: [support, weight at a distance]
  box: [.5, x => x > -.5 && x <= .5 ? 1 : 0],
  bicubic: [2, x => (x = Math.abs(x)) < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -.5 : 0],
  lanczos: [3, x => x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0],
};

// Of each new pixel: the first old one, and the weights from there on, whole numbers in units of 2^-22.
function weights(size, from, to, count, [support, filter]) {
  const scale = Math.fround(to - from) / count, wide = Math.max(scale, 1), reach = support * wide;
  return Array.from({ length: count }, (_, i) => {
    const centre = from + (i + .5) * scale;
    const first = Math.max(Math.trunc(centre - reach + .5), 0), last = Math.min(Math.trunc(centre + reach + .5), size);
    const raw = Array.from({ length: last - first }, (_, j) => filter((first + j - centre + .5) * (1 / wide)));
    const sum = raw.reduce((a, b) => a + b, 0);
    return [first, raw.map(w => { const v = (sum ? w / sum : w) * 4194304; return Math.trunc(v < 0 ? v - .5 : v + .5); })];
  });
}

// One pass, along rows of `length` pixels that lie `step` apart; `lines` of them start `stride` apart.
function pass(data, taps, out, lines, stride, step, newStride, newStep) {
  for (let line = 0; line < lines; line++) for (let i = 0; i < taps.length; i++) for (let c = 0; c < 3; c++) {
    const [first, kernel] = taps[i];
    let sum = 2097152, at = line * stride + first * step + c;
    for (const w of kernel) { sum += w * data[at]; at += step; }
    out[line * newStride + i * newStep + c] = Math.min(Math.max(Math.floor(sum / 4194304), 0), 255);
  }
  return out;
}

// Image.resize((width, height), filter, box)
export function resize(image, width, height, filter, box = [0, 0, image.width, image.height]) {
  const [x0, y0, x1, y1] = box.map(Math.fround), { data } = image;
  const across = weights(image.width, x0, x1, width, FILTERS[filter]), down = weights(image.height, y0, y1, height, FILTERS[filter]);
  const rows = image.width * 3, out = new Uint8Array(width * height * 3);
  if (height < image.height && image.height - height > 2 * (image.width - width)) {        // since Pillow 13: columns first
    const low = pass(data, down, new Uint8Array(rows * height), image.width, 3, rows, 3, rows);
    return { width, height, data: pass(low, across, out, height, rows, 3, width * 3, 3) };
  }
  const wide = pass(data, across, new Uint8Array(width * image.height * 3), image.height, rows, 3, width * 3, 3);
  return { width, height, data: pass(wide, down, out, width, 3, width * 3, 3, width * 3) };
}

export function crop(image, [x0, y0, x1, y1]) {
  const width = x1 - x0, data = new Uint8Array(width * (y1 - y0) * 3);
  for (let y = y0; y < y1; y++) data.set(image.data.subarray((y * image.width + x0) * 3, (y * image.width + x1) * 3), (y - y0) * width * 3);
  return { width, height: y1 - y0, data };
}

// Bytes of pictures of one size as planes of numbers 0..1, as a tensor has them: (n 3 h w).
export function planes(...images) {
  const size = images[0].width * images[0].height, out = new Float32Array(images.length * 3 * size);
  images.forEach(({ data }, n) => { for (let i = 0; i < size; i++) for (let c = 0; c < 3; c++) out[(n * 3 + c) * size + i] = data[i * 3 + c] / 255; });
  return out;
}

// to_image: planes 0..1 (3 h w) as bytes, rounded
export function fromPlanes(values, width, height) {
  const size = width * height, data = new Uint8Array(size * 3);
  for (let i = 0; i < size; i++) for (let c = 0; c < 3; c++) data[i * 3 + c] = Math.fround(Math.fround(values[c * size + i] * 255) + .5);
  return { width, height, data };
}

// crop_window: the part of the picture that the painter is shown
export function cropWindow(box, size, context) {
  const longer = Math.max(box[2] - box[0], box[3] - box[1]), wide = longer * (1 + context);
  const side = longer <= Math.min(...size) ? Math.min(wide, ...size) : wide, window = [];
  for (let i = 0; i < 2; i++) {
    const [low, high, limit] = [box[i], box[i + 2], size[i]], length = Math.min(even(side), limit);
    const start = Math.min(Math.max(even((low + high - length) / 2), 0), limit - length);
    window.push([Math.min(start, low), Math.max(start + length, high)]);
  }
  return [window[0][0], window[1][0], window[0][1], window[1][1]];
}

// What of a window of `length` pixels, shown in `size`, lies in low..high: [first, last + 1], as Pillow's NEAREST takes it
function nearest(length, size, low, high) {
  const scale = length / size, inside = [];
  for (let i = 0, at = scale * .5; i < size; i++, at += scale) if (Math.trunc(at) >= low && Math.trunc(at) < high) inside.push(i);
  return inside.length ? [inside[0], inside.at(-1) + 1] : [0, 0];
}

// window_and_mask: the window, what is shown of it, and the box in it, both `size` pixels wide and high
export function windowAndMask(image, box, size, context) {
  const window = cropWindow(box, [image.width, image.height], context), [x, y, right, bottom] = window;
  const [x0, x1] = nearest(right - x, size, box[0] - x, box[2] - x), [y0, y1] = nearest(bottom - y, size, box[1] - y, box[3] - y);
  return { window, shown: resize(image, size, size, 'bicubic', window), hole: [x0, y0, x1, y1] };
}

// A mask as a tensor has it: 1 inside, (1 1 size size)
export function maskOf([x0, y0, x1, y1], size) {
  const out = new Float32Array(size * size);
  for (let y = y0; y < y1; y++) out.fill(1, y * size + x0, y * size + x1);
  return out;
}

// Sine transform of the rows of a matrix (h w), the result turned: (w h)
function sines(values, h, w) {
  const out = new Float64Array(w * h);
  for (let k = 0; k < w; k++) for (let n = 0; n < w; n++) {
    const s = 2 * Math.sin(Math.PI * (k + 1) * (n + 1) / (w + 1));
    for (let y = 0; y < h; y++) out[k * h + y] += s * values[y * w + n];
  }
  return out;
}

// harmonic: the inside of a rectangle where each pixel is the mean of its four neighbours; sides are lists of numbers
export function harmonic(top, bottom, left, right) {
  const h = left.length, w = top.length, outside = new Float64Array(h * w);
  for (let x = 0; x < w; x++) { outside[x] += top[x]; outside[(h - 1) * w + x] += bottom[x]; }
  for (let y = 0; y < h; y++) { outside[y * w] += left[y]; outside[y * w + w - 1] += right[y]; }
  const waves = sines(sines(outside, h, w), w, h), wave = (k, n) => 2 - 2 * Math.cos(Math.PI * (k + 1) / (n + 1));
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) waves[y * w + x] /= wave(y, h) + wave(x, w);
  return sines(sines(waves, h, w), w, h).map(v => v / (4 * (h + 1) * (w + 1)));
}

// The mean of `size` neighbours along a line; beyond its ends it goes on as it ended.
function smooth(values, size) {
  const low = size >> 1, n = values.length;
  return values.map((_, i) => {
    let sum = 0;
    for (let j = i - low; j < i - low + size; j++) sum += values[Math.min(Math.max(j, 0), n - 1)];
    return sum / size;
  });
}

// without_seam: the painted window, in the shades that the picture has at the border of the hole
export function withoutSeam(made, shown, hole, edge) {
  const [x0, y0, x1, y1] = hole, { width, height } = made, data = made.data.slice();
  if (x0 === x1 || y0 === y1) return made;
  const across = Array.from({ length: x1 - x0 }, (_, i) => x0 + i), down = Array.from({ length: y1 - y0 }, (_, i) => y0 + i);
  const lines = [down.map(y => [x0, y]), across.map(x => [x, y0]), down.map(y => [x1 - 1, y]), across.map(x => [x, y1 - 1])];
  const steps = lines.map((line, side) => {         // of each side, of each channel, along it
    const gap = line.map(([x, y]) => [0, 1, 2].map(c => shown.data[(y * width + x) * 3 + c] - made.data[(y * width + x) * 3 + c]));
    if (hole[side] === 0 || hole[side] === [width, height][side % 2]) return [0, 1, 2].map(() => gap.map(() => 0));
    const small = gap.map(g => Math.exp(-((Math.max(...g.map(Math.abs)) / edge) ** 2)));
    return [0, 1, 2].map(c => smooth(gap.map((g, i) => g[c] * small[i]), Math.max(width >> 4, 1)));
  });
  for (let c = 0; c < 3; c++) {
    const [left, top, right, bottom] = steps.map(s => s[c]), added = harmonic(top, bottom, left, right);
    down.forEach((y, i) => across.forEach((x, j) => {
      const at = (y * width + x) * 3 + c;
      data[at] = Math.min(Math.max(even(made.data[at] + added[i * across.length + j]), 0), 255);
    }));
  }
  return { width, height, data };
}

// paste_edit: the picture with the edit inside the box; every other pixel is the picture's
export function paste(image, edit, window, box) {
  const size = [edit.width, edit.height], scale = [0, 1].map(i => size[i] / (window[i + 2] - window[i]));
  const part = box.map((v, i) => Math.min(Math.max((v - window[i % 2]) * scale[i % 2], 0), size[i % 2]));
  const inside = resize(edit, box[2] - box[0], box[3] - box[1], 'lanczos', part), data = image.data.slice();
  for (let y = 0; y < inside.height; y++)
    data.set(inside.data.subarray(y * inside.width * 3, (y + 1) * inside.width * 3), ((box[1] + y) * image.width + box[0]) * 3);
  return { width: image.width, height: image.height, data };
}
