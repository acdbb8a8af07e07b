// The contract of DataStore over its three members: SQLite, Postgres with pgvector, in memory.
// It does not know what the contract says (memory-contract.ts).
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { seededRandom } from "../src/base/mod.ts";
import { type DataStore, idMaker, openInMemory, openPostgres, openSqlite } from "../src/memory/mod.ts";
import { contract, EMBEDDER } from "./memory-contract.ts";
import { type PostgresServer, startPostgres } from "./setup/postgres.ts";

const newId = idMaker(seededRandom(1));
let folder: string;
let server: PostgresServer;
let files = 0;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "irori-stores-"));
  server = await startPostgres();
});
after(async () => {
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const members: Readonly<Record<string, () => Promise<DataStore>>> = {
  SQLite: () => openSqlite({ path: join(folder, `${++files}.db`), embedder: EMBEDDER, newId }),
  Postgres: async () => openPostgres({ url: await server.newDatabase(), embedder: EMBEDDER, newId, connections: 8 }),
  "in memory": async () => openInMemory({ embedder: EMBEDDER, newId }),
};

for (const [name, open] of Object.entries(members))
  describe(name, () => {
    let store: DataStore;
    before(async () => {
      store = await open();
    });
    after(() => store[Symbol.asyncDispose]());
    for (const [i, { fact, holds }] of contract.entries()) test(fact, () => holds(store, `ns ${i}`, open));
  });
