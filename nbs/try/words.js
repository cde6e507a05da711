// Texts as the models read them (the tokenizer of CLIP), and what of them they have never learned, as
// regionedit.models.pretrained.Known says it.

const PARTS = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/gu;

// Each byte as a letter that can be seen: those that can be seen already, then the others from 256 on.
const LETTERS = (() => {
  const seen = b => (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173, out = [];
  for (let b = 0, next = 256; b < 256; b++) out.push(String.fromCharCode(seen(b) ? b : next++));
  return out;
})();

export function openTokenizer({ vocab, merges }) {
  const ranks = new Map(merges.map((m, i) => [m, i])), start = vocab['<|startoftext|>'], end = vocab['<|endoftext|>'];
  const pieces = word => {          // byte pairs are joined, the most frequent first
    let parts = Array.from(new TextEncoder().encode(word), b => LETTERS[b]);
    parts[parts.length - 1] += '</w>';
    for (;;) {
      let best = Infinity, at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`);
        if (rank < best) { best = rank; at = i; }
      }
      if (at < 0) return parts;
      const [a, b] = [parts[at], parts[at + 1]], joined = [];
      for (let i = 0; i < parts.length; i++) {
        if (parts[i] === a && parts[i + 1] === b) { joined.push(a + b); i++; } else joined.push(parts[i]);
      }
      parts = joined;
    }
  };
  const read = text => (text.normalize('NFC').toLowerCase().match(PARTS) ?? [])
    .flatMap(word => word in vocab && word.startsWith('<|') ? [vocab[word]] : pieces(word).map(p => vocab[p] ?? end));
  return {
    count: text => read(text).length + 2,
    ids: (text, length) => {
      const ids = [start, ...read(text).slice(0, length - 2), end];
      return [...ids, ...Array(length - ids.length).fill(end)];
    },
  };
}

// CLIP's reader straightens quotation marks first.
export const straight = text => text.replace(/[\u02bc\u2018-\u201b]/g, "'").replace(/[\u201c-\u201f]/g, '"');

// difflib's SequenceMatcher.ratio, for short words: a is compared with b
export function alike(a, b) {
  const longest = (alo, ahi, blo, bhi) => {
    let best = [alo, blo, 0], lengths = new Map();
    for (let i = alo; i < ahi; i++) {
      const next = new Map();
      for (let j = blo; j < bhi; j++) if (a[i] === b[j]) {
        const k = (lengths.get(j - 1) ?? 0) + 1;
        next.set(j, k);
        if (k > best[2]) best = [i - k + 1, j - k + 1, k];
      }
      lengths = next;
    }
    return best;
  };
  const same = (alo, ahi, blo, bhi) => {
    if (alo >= ahi || blo >= bhi) return 0;
    const [i, j, k] = longest(alo, ahi, blo, bhi);
    return k && k + same(alo, i, blo, j) + same(i + k, ahi, j + k, bhi);
  };
  return a.length + b.length ? 2 * same(0, a.length, 0, b.length) / (a.length + b.length) : 1;
}

const escaped = text => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
const quoted = word => word.includes("'") ? `"${word}"` : `'${word}'`;
const LETTER = '[\\p{L}\\p{N}_]';

export function openKnown({ things, words, nearest, advice }) {
  const names = new Map(Object.entries(things).flatMap(([thing, others]) => [thing, ...others].map(n => [n, thing])));
  const learned = new Set(words), near = new Map(Object.entries(nearest));
  const knows = w => learned.has(w) || names.has(w);
  const singular = word => {
    for (const [end, now] of [['ies', 'y'], ['es', ''], ['s', '']])
      if (word.endsWith(end) && knows(word.slice(0, -end.length) + now)) return word.slice(0, -end.length) + now;
    return word;
  };
  const unknown = text => {
    let rest = (text.toLowerCase().match(/[\p{L}\p{N}_'-]+/gu) ?? []).join(' ');
    for (const phrase of [...names.keys()].filter(n => /[ -]/.test(n)).sort((a, b) => b.length - a.length))
      rest = rest.replace(new RegExp(`(?<!${LETTER})${escaped(phrase)}s?(?!${LETTER})`, 'gu'), ' ');
    return [...new Set(rest.split(/\s+/).filter(w => w && !knows(singular(w))))];
  };
  const nearestTo = word => {           // by meaning, or else by spelling; '' if none is near
    if (near.has(word)) return near.get(word);
    let best = [.75, ''];
    for (const name of [...names.keys(), ...near.keys()]) {
      const ratio = alike(name, word);
      if (ratio > best[0] || (ratio === best[0] && name > best[1])) best = [ratio, name];
    }
    return best[1] && (names.get(best[1]) ?? near.get(best[1]));
  };
  const remark = (...texts) => {        // the sentence, or ''
    const said = [...new Set(texts.flatMap(unknown))].map(w => nearestTo(w) ? `${quoted(w)} (nearest: ${quoted(nearestTo(w))})` : quoted(w));
    return said.length ? `these models have not learned ${said.join(', ')}; they know ${Object.keys(things).length} drawn things; ${advice}` : '';
  };
  return { unknown, nearestTo, remark, advice };
}
