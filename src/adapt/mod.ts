// Public names of adapt/: fitting a model's adapters.
export {
  AdamW,
  type AdamWOptions,
  clipGradients,
  learningRate,
  type Optimizer,
  type Parameter,
  Sgd,
} from "./optimizers.ts";
