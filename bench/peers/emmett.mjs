// Appends through node's driver pg, to emmett's store or to asynx; bench/README.md says what for.
//
//   node emmett.mjs versions
//   node emmett.mjs prepare                            makes emmett's tables
//   node emmett.mjs emmett|asynx CLIENTS SECONDS PATCH -> appends per second
//
// Every client has its own streams of ten events, and waits for each append.

import { readFileSync } from 'node:fs';
import pg from 'pg';
import { getPostgreSQLEventStore } from '@event-driven-io/emmett-postgresql';

const { PGUSER, PGDATABASE, PGHOST, PGPORT } = process.env;
const server = `host=${encodeURIComponent(PGHOST)}&port=${PGPORT}`;
const connection = `postgresql://${PGUSER}@/${PGDATABASE}?${server}`;
const [contestant, clients, seconds, patch] = process.argv.slice(2);

const versionOf = (name) => {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return `${name}=${JSON.parse(readFileSync(file)).version}`;
};

// One client after another appends; a contestant gives a function append(stream, version).
const contestants = {
  async emmett() {
    const store = getPostgreSQLEventStore(connection, { schema: { autoMigration: 'None' } });
    const data = { patch: JSON.parse(patch) };
    return {
      append: (stream, version) =>
        store.appendToStream(stream, [{ type: 'order.changed', data }], {
          expectedStreamVersion: version === 1 ? 'STREAM_DOES_NOT_EXIST' : BigInt(version - 1),
        }),
      close: () => store.close(),
    };
  },
  async asynx() {
    const pool = new pg.Pool({ connectionString: connection, max: Number(clients) });
    return {
      append: (stream, version) =>
        pool.query({
          name: 'append',
          text: 'SELECT asynx.append($1, $2, $3, $4)',
          values: [stream, version, 'order.changed', patch],
        }),
      close: () => pool.end(),
    };
  },
};

// Lets all clients append until a time, and returns how many appends that were.
async function run(append, prefix, until) {
  let appends = 0;
  const client = async (number) => {
    for (let n = 0; performance.now() < until; n++, appends++)
      await append(`${prefix}-${number}-${Math.floor(n / 10)}`, (n % 10) + 1);
  };
  await Promise.all(Array.from({ length: Number(clients) }, (_, number) => client(number)));
  return appends;
}

if (contestant === 'versions')
  console.log(`${versionOf('@event-driven-io/emmett-postgresql')} ${versionOf('pg')}`);
else if (contestant === 'prepare') {
  const store = getPostgreSQLEventStore(connection);
  await store.schema.migrate();
  await store.close();
} else {
  const { append, close } = await contestants[contestant]();
  const milliseconds = Number(seconds) * 1000;

  // The first quarter opens connections and lets the compiler see the code.
  await run(append, 'warm', performance.now() + milliseconds / 4);
  const start = performance.now();
  const appends = await run(append, 'order', start + milliseconds);
  console.log((appends * 1000) / (performance.now() - start));
  await close();
}
