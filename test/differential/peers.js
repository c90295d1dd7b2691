/*
 * Makes random documents and patches, and asks other implementations of RFC 6902 what becomes
 * of them: node peers.js DIRECTORY SEED CASES, where DIRECTORY holds the peers' packages.
 * Prints one case a line: the document, the patch, and for each peer a result, an error, or the
 * rule by which its opinion does not count.
 *
 * A peer is asked operation by operation, so that a rule can look at the document in between.
 * A rule names one thing that the peer does otherwise than the RFC says; it is as narrow as
 * it can be, and everything that no rule names must agree.
 */
'use strict';

const [directory, seed, cases] = [process.argv[2], +process.argv[3], +process.argv[4]];
const fastJsonPatch = require(directory + '/fast-json-patch');
const rfc6902 = require(directory + '/rfc6902');

// mulberry32: small, good enough, the same everywhere.
let state = seed >>> 0;
function below(n) {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % n;
}
const any = (list) => list[below(list.length)];
const copy = (value) => JSON.parse(JSON.stringify(value));
const isArray = Array.isArray;
const isContainer = (value) => value !== null && typeof value === 'object';

// Names that ask for care, and numbers that a double carries.
const names = ['a', 'b', 'c', 'id', '', '-', '0', '1', '01', 'a/b', 'm~n', '~1', '"', '\u00e9', ' '];
const scalars = [null, true, false, 0, 1, -1, 1.5, 1e21, 12345678901, 0.001, '', 'x', '1', 'null',
  '\u{1f642}', 'tab\tquote"backslash\\'];

function document(levels) {
  if (levels === 0 || below(5) === 0) return any(scalars);
  const size = below(5);
  if (below(2) === 0) return Array.from({ length: size }, () => document(levels - 1));
  return Object.fromEntries(Array.from({ length: size }, () => [any(names), document(levels - 1)]));
}

const escape = (token) => token.replace(/~/g, '~0').replace(/\//g, '~1');

// A pointer to somewhere in the document, or close by, or nowhere.
function pointer(value) {
  let path = '';
  while (isContainer(value) && Object.keys(value).length > 0 && below(4) > 0) {
    const key = any(Object.keys(value));
    path += '/' + escape(key);
    value = value[key];
  }
  if (below(3) === 0)
    path += '/' + any([...names.map(escape), '-', '2', '00', '-1', '1e0', '18446744073709551616', '~', '~2']);
  return below(100) === 0 ? path.slice(1) : path;
}

function operation(value) {
  const op = { op: any(['add', 'add', 'remove', 'replace', 'move', 'copy', 'test', 'test']) };
  op.path = pointer(value);
  if (op.op === 'move' || op.op === 'copy') op.from = pointer(value);
  if (op.op === 'add' || op.op === 'replace' || op.op === 'test') op.value = document(2);
  if (op.op === 'test' && below(3) > 0) op.value = copy(find(value, op.path) ?? null);
  if (below(60) === 0) delete op[any(Object.keys(op))];
  if (below(60) === 0) op.op = any(['ADD', 'nop', '', 1, null]);
  return op;
}

// A pointer's tokens; null if it is none.
function tokens(path) {
  if (typeof path !== 'string' || (path !== '' && path[0] !== '/') || /~(?![01])/.test(path))
    return null;
  return path.split('/').slice(1).map((t) => t.replace(/~1/g, '/').replace(/~0/g, '~'));
}

// Goes down `count` tokens, in own members and proper indexes only; undefined if there is nothing.
function walk(value, path, count) {
  for (const token of path.slice(0, count)) {
    if (!isContainer(value) || !Object.hasOwn(value, token)) return undefined;
    if (isArray(value) && !/^(0|[1-9][0-9]*)$/.test(token)) return undefined;
    value = value[token];
  }
  return value;
}
const find = (value, path) => { const t = tokens(path); return t ? walk(value, t, t.length) : undefined; };
const parent = (value, path) => { const t = tokens(path); return t ? walk(value, t, t.length - 1) : undefined; };

// What the peers get wrong.  A rule sees the document before the operation.
const rules = require('./rules.js')({ tokens, find, parent, escape, isArray, isContainer });

const peers = {
  'fast-json-patch': (value, op) => fastJsonPatch.applyOperation(value, op, true, true).newDocument,
  'rfc6902': (value, op) => {
    const holder = { root: value };
    const prefix = (path) => (typeof path === 'string' && (path === '' || path[0] === '/') ? '/root' + path : path);
    const moved = { ...op };
    if ('path' in op) moved.path = prefix(op.path);
    if ('from' in op) moved.from = prefix(op.from);
    const [error] = rfc6902.applyPatch(holder, [moved]);
    if (error) throw error;
    return holder.root;
  },
};

// What a peer makes of a patch.
function ask(name, value, patch) {
  let result = copy(value);
  for (const op of patch) {
    const rule = Object.keys(rules[name]).find((r) => rules[name][r](result, op));
    if (rule !== undefined) return { rule };
    try {
      result = peers[name](result, copy(op));
    } catch (error) {
      return { error: true };
    }
    try {
      result = copy(result);
    } catch (error) {
      return { nonsense: true };
    }
  }
  return { result };
}

for (let i = 0; i < cases; i++) {
  const value = document(4);
  const patch = Array.from({ length: 1 + below(3) }, () => operation(value));
  const line = { number: i, document: value, patch, peers: {} };
  for (const name of Object.keys(peers)) line.peers[name] = ask(name, value, patch);
  console.log(JSON.stringify(line));
}
