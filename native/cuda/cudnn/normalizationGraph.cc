// The graphs of batch normalization.
#include "graph.h"

namespace dw::cuda {

namespace {

struct Builder {
  const NormalizationProblem& p;
  std::unique_ptr<Graph> graph;
  cudnnDataType_t type = dataTypeOf(p.type);
  Dims image = {p.n, p.c, p.h, p.w};
  Dims perChannel = {1, p.c, 1, 1};

  const Operand& statistic() { return graph->input(perChannel, CUDNN_DATA_FLOAT); }
  const Operand& newStatistic() { return graph->output(perChannel, CUDNN_DATA_FLOAT); }

  void training();
  void inference();
  void backward();
  // y = relu?(normalized (+ residual)), the last operations of both forward phases.
  void finish(const Operand& normalized, const Operand* residual, const Operand& y);
  bool plain() const { return !p.relu && !p.residual; }
};

void Builder::finish(const Operand& normalized, const Operand* residual, const Operand& y) {
  const Operand* last = &normalized;
  if (residual != nullptr) {
    const Operand& sum = p.relu ? graph->inner(image) : y;
    graph->pointwise(CUDNN_POINTWISE_ADD, *last, *residual, sum);
    last = &sum;
  }
  if (p.relu) graph->pointwise(CUDNN_POINTWISE_RELU_FWD, *last, y);
}

void Builder::training() {
  const Operand& x = graph->input(image, type);
  const Operand& gamma = statistic();
  const Operand& beta = statistic();
  const Operand& runningMean = statistic();
  const Operand& runningVariance = statistic();
  const Operand* residual = p.residual ? &graph->input(image, type) : nullptr;
  const Operand& y = graph->output(image, type);
  const Operand& mean = newStatistic();
  const Operand& inverseDeviation = newStatistic();
  const Operand& newMean = newStatistic();
  const Operand& newVariance = newStatistic();
  const Operand& epsilon = graph->scalar(static_cast<float>(p.epsilon));
  // cuDNN's factor is the weight of the batch, momentum that of what was there.
  const Operand& factor = graph->scalar(static_cast<float>(1 - p.momentum));
  const Operand& normalized = plain() ? y : graph->inner(image);
  graph->operation(CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_MODE, CUDNN_BATCH_NORM)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, CUDNN_NORM_FWD_TRAINING)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, gamma.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, beta.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_MEAN_DESC, runningMean.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_INPUT_RUNNING_VAR_DESC, runningVariance.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC, epsilon.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_EXP_AVG_FACTOR_DESC, factor.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, mean.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, inverseDeviation.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_MEAN_DESC, newMean.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_OUTPUT_RUNNING_VAR_DESC, newVariance.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_FWD_YDESC, normalized.descriptor)
      .finalize();
  finish(normalized, residual, y);
}

// cuDNN has no inference phase of batch normalization: (x - mean)*inverseDeviation*gamma + beta, pointwise.
void Builder::inference() {
  const Operand& x = graph->input(image, type);
  const Operand& mean = statistic();
  const Operand& inverseDeviation = statistic();
  const Operand& gamma = statistic();
  const Operand& beta = statistic();
  const Operand* residual = p.residual ? &graph->input(image, type) : nullptr;
  const Operand& y = graph->output(image, type);
  const Operand& centred = graph->inner(image);
  const Operand& unit = graph->inner(image);
  const Operand& scaled = graph->inner(image);
  const Operand& normalized = plain() ? y : graph->inner(image);
  graph->pointwise(CUDNN_POINTWISE_SUB, x, mean, centred);
  graph->pointwise(CUDNN_POINTWISE_MUL, centred, inverseDeviation, unit);
  graph->pointwise(CUDNN_POINTWISE_MUL, unit, gamma, scaled);
  graph->pointwise(CUDNN_POINTWISE_ADD, scaled, beta, normalized);
  finish(normalized, residual, y);
}

void Builder::backward() {
  if (!plain()) throw PlanError(PlanError::Kind::unsupported, "no graph for a ReLU before this gradient");
  const Operand& g = graph->input(image, type);
  const Operand& x = graph->input(image, type);
  const Operand& mean = statistic();
  const Operand& inverseDeviation = statistic();
  const Operand& gamma = statistic();
  const Operand& dx = graph->output(image, type);
  const Operand& dGamma = newStatistic();
  const Operand& dBeta = newStatistic();
  graph->operation(CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_MODE, CUDNN_BATCH_NORM)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_XDESC, x.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC, g.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, gamma.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, mean.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, inverseDeviation.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC, dx.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, dGamma.descriptor)
      .set(CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, dBeta.descriptor)
      .finalize();
}

}  // namespace

std::unique_ptr<Graph> graphOf(const Cudnn& cudnn, const NormalizationProblem& problem) {
  Builder builder{problem, std::make_unique<Graph>(cudnn)};
  switch (problem.phase) {
    case NormalizationPhase::training:
      builder.training();
      break;
    case NormalizationPhase::inference:
      builder.inference();
      break;
    case NormalizationPhase::backward:
      builder.backward();
      break;
  }
  return std::move(builder.graph);
}

}  // namespace dw::cuda
