// How node-llama-cpp is run: the settings that were fastest on CPU (docs/bench.md says what was tried).
// Its prebuilt binary only: nothing is downloaded or compiled.
export const LLAMA_SETTINGS = {
  gpu: false,
  build: "never",
  skipDownload: true,
  progressLogs: false,
  logLevel: "error",
};
export const MODEL_SETTINGS = { gpuLayers: 0 };
/** Flash attention stays "auto", its default: on for this model. */
export const CONTEXT_SETTINGS = { batchSize: 512 };
