export { type AttentionOptions, attention, type CacheScales, cachedAttention, causalMask } from "./attention.ts";
export { addDims, type Dim, divideDims, evaluateDim, mulDims, sizeOf, subDims } from "./dim.ts";
export { type Folded, fold } from "./fold.ts";
export {
  cut,
  gelu,
  geluTanh,
  layerNorm,
  logSumExp,
  positionsFrom,
  rmsNorm,
  rotary,
  silu,
  softCap,
  softmax,
  tap,
} from "./functions.ts";
export { type Fusion, fuse, fusions, int8Fusions, type Largest } from "./fusions.ts";
export { type GradientOptions, withGradients } from "./gradient.ts";
export {
  expand,
  type Graph,
  graph,
  graphHash,
  inputsOf,
  nodesOf,
  printGraph,
  type Rule,
  rewrite,
  verify,
  weightsOf,
} from "./graph.ts";
export { largestOfColumns } from "./int8.ts";
export { type BlockFormat, dequantize, linear, linears, mixHeads, rotateBlocks, weightsMultiplied } from "./linear.ts";
export { crossEntropy, linearCrossEntropy } from "./losses.ts";
export { narrowRows } from "./narrow.ts";
export { type OffsetProduct, offsetProducts, withOffsetsInside } from "./offsets.ts";
export { type OnnxOptions, onnxBytes, type WeightLocation } from "./onnx.ts";
export {
  add,
  and,
  arange,
  cast,
  concat,
  cos,
  div,
  equal,
  erf,
  exp,
  expandTo,
  less,
  lessEqual,
  log,
  max,
  maxOver,
  mean,
  mul,
  neg,
  reciprocal,
  reshape,
  sigmoid,
  sin,
  sizeScalar,
  slice,
  split,
  sqrt,
  sub,
  sum,
  tanh,
  transpose,
  where,
} from "./ops.ts";
export { gather, matmul, pick, place, scatterAdd, topK } from "./products.ts";
export { cutAtTaps, hasTap, hookPoints, openTaps, rewriteTaps, withTaps } from "./taps.ts";
export {
  apply,
  applyAll,
  constant,
  type DType,
  defineFunction,
  defineOp,
  type Emitter,
  input,
  int64,
  type Node,
  type Op,
  opTable,
  scalar,
  type TensorType,
  Value,
  weight,
} from "./value.ts";
export { outputParts, weightParts } from "./weight-parts.ts";
