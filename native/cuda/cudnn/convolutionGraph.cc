// The graphs of convolutions: three directions, and what is fused around each.
#include "graph.h"

namespace dw::cuda {

namespace {

// A graph with what all convolutions have: extents and types.
struct Builder {
  const ConvolutionProblem& p;
  std::unique_ptr<Graph> graph;
  cudnnDataType_t type = dataTypeOf(p.type), result = dataTypeOf(p.result);
  Dims image = {p.n, p.c, p.h, p.w};
  Dims filter = {p.o, p.c / p.groups, p.kernelH, p.kernelW};
  Dims product = {p.n, p.o, p.oh, p.ow};
  Dims perInput = {1, p.c, 1, 1};
  Dims perOutput = {1, p.o, 1, 1};

  const Operand& vectorOf(const Dims& dims) { return graph->input(dims, CUDNN_DATA_FLOAT); }

  // x*scale + shift, in f32 where `last` is none.
  const Operand& affine(const Operand& x, const Operand& scale, const Operand& shift,
                        const Operand* last = nullptr) {
    const Operand& scaled = graph->inner(image);
    const Operand& shifted = last != nullptr ? *last : graph->inner(image);
    graph->pointwise(CUDNN_POINTWISE_MUL, x, scale, scaled);
    graph->pointwise(CUDNN_POINTWISE_ADD, scaled, shift, shifted);
    return shifted;
  }

  // relu?(x*scale + shift), in T.
  const Operand& activation(const Operand& x, const Operand& scale, const Operand& shift) {
    const Operand& activated = graph->inner(image, type);
    if (!p.relu) return affine(x, scale, shift, &activated);
    graph->pointwise(CUDNN_POINTWISE_RELU_FWD, affine(x, scale, shift), activated);
    return activated;
  }

  // The gradient of the normalization after the convolution, g*p + y*q + r, in T. Takes the operands in
  // order.
  const Operand& normalizationGradient() {
    const Operand& g = graph->input(product, type);
    const Operand& y = graph->input(product, type);
    const Operand& ofG = vectorOf(perOutput);
    const Operand& ofY = vectorOf(perOutput);
    const Operand& constant = vectorOf(perOutput);
    const Operand& gPart = graph->inner(product);
    const Operand& yPart = graph->inner(product);
    const Operand& both = graph->inner(product);
    const Operand& whole = graph->inner(product, type);
    graph->pointwise(CUDNN_POINTWISE_MUL, g, ofG, gPart);
    graph->pointwise(CUDNN_POINTWISE_MUL, y, ofY, yPart);
    graph->pointwise(CUDNN_POINTWISE_ADD, gPart, yPart, both);
    graph->pointwise(CUDNN_POINTWISE_ADD, both, constant, whole);
    return whole;
  }

  // y and its sums from a convolution of x.
  void forwardWithSums(const Operand& x, const Operand& w) {
    const Operand& accumulated = graph->inner(product);
    graph->convolution(p, x, w, accumulated);
    const Operand& y = graph->output(product, result);
    const Operand& sum = graph->output(perOutput, CUDNN_DATA_FLOAT);
    const Operand& sumSquares = graph->output(perOutput, CUDNN_DATA_FLOAT);
    graph->pointwise(CUDNN_POINTWISE_IDENTITY, accumulated, y);
    graph->channelSums(y, sum, sumSquares);
  }

  // dx masked by the ReLU of x*scale + shift, and both sums, from the gradient g of the convolution's output.
  void inputGradWithMask(const Operand& g, const Operand& w) {
    const Operand& x = graph->input(image, type);
    const Operand& scale = vectorOf(perInput);
    const Operand& shift = vectorOf(perInput);
    const Operand& accumulated = graph->inner(image);
    const Operand& masked = graph->inner(image);
    const Operand& timesX = graph->inner(image);
    graph->convolution(p, accumulated, w, g);
    graph->reluGrad(accumulated, affine(x, scale, shift), masked);
    graph->pointwise(CUDNN_POINTWISE_IDENTITY, masked, graph->output(image, result));
    graph->sum(masked, graph->output(perInput, CUDNN_DATA_FLOAT));
    graph->pointwise(CUDNN_POINTWISE_MUL, masked, x, timesX);
    graph->sum(timesX, graph->output(perInput, CUDNN_DATA_FLOAT));
  }

  void forward();
  void inputGrad();
  void weightGrad();

  [[noreturn]] void refuse() const {
    throw PlanError(PlanError::Kind::unsupported, "no graph for this fusion in this direction");
  }
};

void Builder::forward() {
  const Operand& x = graph->input(image, type);
  if (p.fusion == Fusion::affineRelu || p.fusion == Fusion::affineReluSums) {
    const Operand& scale = vectorOf(perInput);
    const Operand& shift = vectorOf(perInput);
    const Operand& w = graph->input(filter, type);
    const Operand& activated = activation(x, scale, shift);
    if (p.fusion == Fusion::affineReluSums) return forwardWithSums(activated, w);
    return graph->convolution(p, activated, w, graph->output(product, result));
  }
  const Operand& w = graph->input(filter, type);
  switch (p.fusion) {
    case Fusion::none:
      return graph->convolution(p, x, w, graph->output(product, result));
    case Fusion::sums:
      return forwardWithSums(x, w);
    case Fusion::bias: {
      const Operand& bias = vectorOf(perOutput);
      const Operand* residual = p.residual ? &graph->input(product, type) : nullptr;
      const Operand& y = graph->output(product, result);
      const Operand* last = &graph->inner(product);
      graph->convolution(p, x, w, *last);
      const auto step = [&](cudnnPointwiseMode_t mode, const Operand* operand, bool isLast) {
        const Operand& next = isLast ? y : graph->inner(product);
        if (operand != nullptr)
          graph->pointwise(mode, *last, *operand, next);
        else
          graph->pointwise(mode, *last, next);
        last = &next;
      };
      step(CUDNN_POINTWISE_ADD, &bias, residual == nullptr && !p.relu);
      if (residual != nullptr) step(CUDNN_POINTWISE_ADD, residual, !p.relu);
      if (p.relu) step(CUDNN_POINTWISE_RELU_FWD, nullptr, true);
      return;
    }
    default:
      refuse();
  }
}

void Builder::inputGrad() {
  switch (p.fusion) {
    case Fusion::none: {
      const Operand& g = graph->input(product, type);
      const Operand& w = graph->input(filter, type);
      return graph->convolution(p, graph->output(image, result), w, g);
    }
    case Fusion::affine2: {
      const Operand& gradient = normalizationGradient();
      const Operand& w = graph->input(filter, type);
      return graph->convolution(p, graph->output(image, result), w, gradient);
    }
    case Fusion::mask: {
      const Operand& g = graph->input(product, type);
      const Operand& w = graph->input(filter, type);
      return inputGradWithMask(g, w);
    }
    case Fusion::affine2Mask: {
      const Operand& gradient = normalizationGradient();
      const Operand& w = graph->input(filter, type);
      return inputGradWithMask(gradient, w);
    }
    default:
      refuse();
  }
}

void Builder::weightGrad() {
  const Operand& x = graph->input(image, type);
  const auto finish = [&](const Operand& activated, const Operand& gradient) {
    graph->convolution(p, activated, graph->output(filter, result), gradient);
  };
  switch (p.fusion) {
    case Fusion::none:
      return finish(x, graph->input(product, type));
    case Fusion::affine2:
      return finish(x, normalizationGradient());
    case Fusion::affineRelu: {
      const Operand& scale = vectorOf(perInput);
      const Operand& shift = vectorOf(perInput);
      const Operand& g = graph->input(product, type);
      return finish(activation(x, scale, shift), g);
    }
    default:
      refuse();
  }
}

}  // namespace

std::unique_ptr<Graph> graphOf(const Cudnn& cudnn, const ConvolutionProblem& problem) {
  Builder builder{problem, std::make_unique<Graph>(cudnn)};
  switch (problem.direction) {
    case Direction::forward:
      builder.forward();
      break;
    case Direction::inputGrad:
      builder.inputGrad();
      break;
    case Direction::weightGrad:
      builder.weightGrad();
      break;
  }
  return std::move(builder.graph);
}

}  // namespace dw::cuda
