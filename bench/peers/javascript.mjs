// fast-json-patch and rfc6902, asked line by line; bench/README.md says what for.
//
//   versions                          -> name=version ...
//   load SIZE FILE                    -> the documents and patches of a size: "ok"
//   LIBRARY TASK SIZE MILLISECONDS    -> microseconds per call
//   LIBRARY size FILE                 -> bytes of the patch between the two documents of a file
//
// TASK is patch or diff for text in and text out, diff_values for parsed values.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import fast from 'fast-json-patch';
import * as rfc6902 from 'rfc6902';

const libraries = {
  'fast-json-patch': {
    apply: (document, patch) => fast.applyPatch(document, patch).newDocument,
    diff: (before, after) => fast.compare(before, after),
  },
  rfc6902: {
    apply: (document, patch) => {
      const failed = rfc6902.applyPatch(document, patch).find((error) => error !== null);
      if (failed) throw failed;
      return document;
    },
    diff: (before, after) => rfc6902.createPatch(before, after),
  },
};
const inputs = {};
let kept;

// One call of a task, the n-th; the variants of its input come in turn.
const tasks = {
  patch({ apply }, { document, patches }, n) {
    return JSON.stringify(apply(JSON.parse(document), JSON.parse(patches[n % patches.length])));
  },
  diff({ diff }, { document, changed }, n) {
    return JSON.stringify(diff(JSON.parse(document), JSON.parse(changed[n % changed.length])));
  },
  diff_values({ diff }, { documentValue, changedValues }, n) {
    return diff(documentValue, changedValues[n % changedValues.length]);
  },
};

// Calls a task for a while and returns microseconds per call.
function measure(call, milliseconds) {
  const start = process.hrtime.bigint();
  let n = 0;
  let elapsed;

  do {
    kept = call(n++);
    elapsed = Number(process.hrtime.bigint() - start) / 1e3;
  } while (elapsed < milliseconds * 1e3);
  return elapsed / n;
}

function versionOf(name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return `${name}=${JSON.parse(readFileSync(file)).version}`;
}

function answer(words) {
  if (words[0] === 'versions')
    return `node=${process.versions.node} ${Object.keys(libraries).map(versionOf).join(' ')}`;
  if (words[0] === 'load') {
    const input = JSON.parse(readFileSync(words[2], 'utf8'));
    input.documentValue = JSON.parse(input.document);
    input.changedValues = input.changed.map((text) => JSON.parse(text));
    inputs[words[1]] = input;
    return 'ok';
  }
  const [name, task, argument, milliseconds] = words;
  const library = libraries[name];
  if (task === 'size') {
    const [before, after] = JSON.parse(readFileSync(argument, 'utf8'));
    return Buffer.byteLength(JSON.stringify(library.diff(before, after)));
  }
  return measure((n) => tasks[task](library, inputs[argument], n), milliseconds);
}

if (process.argv[2]) console.log(answer(process.argv.slice(2)));
else
  for await (const line of createInterface({ input: process.stdin }))
    console.log(answer(line.split(' ')));
