// Public names of adapt/: fitting a model's adapters.
export {
  type Example,
  type LoraOptions,
  LoraTraining,
  shuffled,
  type TrainedStep,
  type TrainingState,
} from "./lora-trainer.ts";
export {
  AdamW,
  type AdamWOptions,
  clipGradients,
  learningRate,
  type Optimizer,
  type Parameter,
  Sgd,
} from "./optimizers.ts";
