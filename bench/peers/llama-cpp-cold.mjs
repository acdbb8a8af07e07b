// llama.cpp from exec to the first token: `node llama-cpp-cold.mjs GGUF THREADS PROMPT` prints one token and ends.
// It does not know who measures it.
import { enableCompileCache } from "node:module";

enableCompileCache(); // as Irori's bin does
const { getLlama } = await import("node-llama-cpp");
const { CONTEXT_SETTINGS, LLAMA_SETTINGS, MODEL_SETTINGS } = await import("./settings.mjs");

const [modelPath, threads, prompt] = process.argv.slice(2);
const llama = await getLlama({ ...LLAMA_SETTINGS, maxThreads: Number(threads) });
const model = await llama.loadModel({ ...MODEL_SETTINGS, modelPath });
const context = await model.createContext({ ...CONTEXT_SETTINGS, contextSize: 256, threads: Number(threads) });
const ids = model.tokenize(prompt);
for await (const token of context.getSequence().evaluate(ids, { temperature: 0 })) {
  process.stdout.write(JSON.stringify({ ids: [token], promptTokens: ids.length, text: model.detokenize([token]) }));
  break;
}
process.exit(0);
