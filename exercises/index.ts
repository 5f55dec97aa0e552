/** The course: every exercise, in order. */
import type { Exercise } from "./autograder/spec";
import scalarChainRule from "./01-scalar-chain-rule";
import jacobianComposition from "./02-jacobian-composition";
import lineByGradientDescent from "./03-line-by-gradient-descent";
import twoLayerNetwork from "./04-two-layer-network";
import batchedBackward from "./05-batched-backward";
import activations from "./06-activations";
import softmaxCrossEntropy from "./07-softmax-cross-entropy";
import layerNorm from "./08-layer-norm";
import vanishingGradients from "./09-vanishing-gradients";
import initialisation from "./10-initialisation";
import residualHighways from "./11-residual-highways";
import trainingLoop from "./12-training-loop";
import autogradEngine from "./13-autograd-engine";
import tapeVjpJvp from "./14-tape-vjp-jvp";
import checkpointing from "./15-checkpointing";
import attention from "./16-attention";
import multiHeadAttention from "./17-multi-head-attention";
import flashAttention from "./18-flash-attention";
import embedding from "./19-embedding";
import lora from "./20-lora";
import reinforce from "./21-reinforce";
import straightThrough from "./22-straight-through";
import bptt from "./23-bptt";
import transformerBlock from "./24-transformer-block";
import minimalGpt from "./25-minimal-gpt";
import mixedPrecision from "./26-mixed-precision";
import findTheBug from "./27-find-the-bug";
import wgslSoftmax from "./28-wgsl-softmax";

export const exercises: readonly Exercise[] = [
  scalarChainRule,
  jacobianComposition,
  lineByGradientDescent,
  twoLayerNetwork,
  batchedBackward,
  activations,
  softmaxCrossEntropy,
  layerNorm,
  vanishingGradients,
  initialisation,
  residualHighways,
  trainingLoop,
  autogradEngine,
  tapeVjpJvp,
  checkpointing,
  attention,
  multiHeadAttention,
  flashAttention,
  embedding,
  lora,
  reinforce,
  straightThrough,
  bptt,
  transformerBlock,
  minimalGpt,
  mixedPrecision,
  findTheBug,
  wgslSoftmax,
];

/** Finds an exercise by its id ("attention"), its folder ("16-attention") or its number; undefined when there is none. */
export function findExercise(name: string | number): Exercise | undefined {
  return exercises.find(({ id, folder, number }) => name === id || name === folder || Number(name) === number);
}
