// The page "Try it": a scene, a prompt and a painter are chosen; the edit is fetched when it is asked for, and shown by the explorer.
import { mount } from './explorer.js';

const PAINTERS = { 'pocket': 'diffusion', 'pocket-maskgit': 'MaskGIT' };
const host = document.getElementById('try-it'), base = new URL('.', import.meta.url);

function h(tag, props = {}, ...children) {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

function choices(legend, entries, chosen, pick) {       // radio buttons: one tab stop, arrow keys
  const name = `try-${legend}`;
  return h('fieldset', { className: `try-${legend}` }, h('legend', {}, legend), ...entries.map(([label, inner], i) => {
    const input = h('input', { type: 'radio', name, checked: i === chosen, ariaLabel: label });
    input.addEventListener('change', () => pick(i));
    return h('label', { title: label }, input, inner);
  }));
}

async function get(name) {
  const answer = await fetch(new URL(name, base));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer.json();
}

const menu = await get('menu.json').catch(() => null);
if (!menu) host.textContent = 'The edits of this page are not here. In a copy of the repository, python tools/try_it.py makes them.';
else {
  const at = { scene: 0, prompt: 0, painter: 0 };
  const [n, p, painter] = location.hash.slice(1).split('-').map(Number);
  if (menu[n]?.prompts[p] && menu[n].painters[painter]) Object.assign(at, { scene: n, prompt: p, painter });
  const place = h('div'), status = h('p', { role: 'status' }), form = h('form', { className: 'try-form' });
  document.head.append(h('link', { rel: 'stylesheet', href: new URL('explorer.css', base).href }));
  host.replaceChildren(form, status, place);
  let page = null, asked = 0;

  const show = async () => {
    const scene = menu[at.scene], turn = ++asked;
    const file = `${String(at.scene).padStart(2, '0')}-${at.prompt}-${scene.painters[at.painter]}.json`;
    status.textContent = 'The edit is fetched.';
    history.replaceState(null, '', `#${at.scene}-${at.prompt}-${at.painter}`);
    try {
      const bundle = await get(file);
      if (turn !== asked) return;       // something else was chosen meanwhile
      page?.close(); place.replaceChildren();
      page = mount(place, bundle);
      status.textContent = `${scene.source} → ${scene.prompts[at.prompt]}, painted by ${PAINTERS[scene.painters[at.painter]]}`;
    } catch (error) { if (turn === asked) status.textContent = `This edit could not be fetched (${error.message}).`; }
  };
  const pick = name => i => {
    at[name] = i;
    if (name === 'scene') { at.prompt = 0; draw(); form.querySelectorAll('.try-scene input')[i].focus(); }
    show();
  };
  const draw = () => {
    const scene = menu[at.scene];
    form.replaceChildren(
      choices('scene', menu.map((m, i) => [`${i + 1}: ${m.source}`, h('img', { src: m.picture, alt: m.caption, width: 72, height: 72 })]), at.scene, pick('scene')),
      choices('prompt', scene.prompts.map(t => [t, t]), at.prompt, pick('prompt')),
      choices('painter', scene.painters.map(t => [PAINTERS[t], PAINTERS[t]]), at.painter, pick('painter')));
  };
  draw();
  show();
}
