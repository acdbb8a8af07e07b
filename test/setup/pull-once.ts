// A process that pulls one source, for tests that kill it. Arguments: home, source, network options as JSON. Prints the path.

import { Store } from "../../src/checkpoint/mod.ts";

const [home, source, network] = process.argv.slice(2) as [string, string, string];
const store = await Store.open(home);
console.log((await store.pull(source, { network: JSON.parse(network) })).path);
