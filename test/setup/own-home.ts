// A store of its own over the files of another one: servers, jobs and settings of a test stay its own, models are not copied.
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What belongs to who uses a store, not to its models. */
const OWN = /^(servers|settings\.json|work\.db.*|memory\.db.*)$/;

export function ownHome(store: string): Disposable & { readonly home: string } {
  const home = mkdtempSync(join(tmpdir(), "irori-home-"));
  for (const name of readdirSync(store)) if (!OWN.test(name)) symlinkSync(join(store, name), join(home, name));
  return { home, [Symbol.dispose]: () => rmSync(home, { recursive: true, force: true }) };
}
