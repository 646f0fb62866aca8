// Times every instruction of one training step of Xception, as the fusions leave it, through the C interface:
// the time of the step is the sum. Ops that the plug-in does not support are marked.
//
//   cpu_step build/Release/libdepthwise_cpu.so [threads] [batch] [size] [repeats] [part of a name]
#include <time.h>

#include <algorithm>

#include "plugin.h"

namespace {

using plugin::Node;
using plugin::shape;

bool cpuTime = false;

// Seconds. With one thread the thread's own time, which other programs on the machine disturb less.
double now() {
  timespec t;
  clock_gettime(cpuTime ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Instruction {
  std::string name;
  Node node;
  double flops;
  int times;
};

// Lists the instructions of a network as its layers are named one after the other.
class Step {
 public:
  Step(int64_t batch, int64_t pixels) : n(batch), size(pixels) {}

  const std::vector<Instruction>& instructions() const { return list_; }

  dw_aval image(int64_t side, int64_t c, dw_dtype type = DW_F32) const {
    return shape({n, side, side, c}, type);
  }

  void add(const std::string& name, const Node& node, double flops = 0) {
    list_.push_back({name, node, flops, times});
  }

  // A dense convolution with the sums of its output, and its gradients.
  void convolution(const std::string& name, int64_t c, int64_t o, int64_t kernel, int64_t stride, bool withDx,
                   int64_t side, int64_t out) {
    const double s = static_cast<double>(stride), k = static_cast<double>(kernel);
    const double extent = static_cast<double>(side);
    const std::vector<double> window = {s, s, 0, 0, 0, 0, 1, 1, 1};
    std::vector<double> input = window, weight = window;
    input.insert(input.end(), {extent, extent});
    weight.insert(weight.end(), {k, k});
    const dw_aval x = image(side, c), y = image(out, o), w = shape({o, kernel, kernel, c}), sums = shape({o});
    const double flops = 2.0 * static_cast<double>(plugin::elements(y) * kernel * kernel * c);
    add(name + " conv2dSums", {DW_OP_conv2dSums, {x, w}, {y, sums, sums}, window}, flops);
    if (withDx) add(name + " conv2dInputGrad", {DW_OP_conv2dInputGrad, {y, w}, {x}, input}, flops);
    add(name + " conv2dWeightGrad", {DW_OP_conv2dWeightGrad, {x, y}, {w}, weight}, flops);
  }

  enum class Before { nothing, relu, affineRelu, activated };

  // A depthwise convolution after what is fused into it, a pointwise one, and the normalization's gradient.
  void separable(const std::string& name, int64_t c, int64_t o, Before before) {
    const double side = static_cast<double>(size);
    const std::vector<double> window = {1, 1, 1, 1, 1, 1, 1, 1, static_cast<double>(c)};
    std::vector<double> relu = window, input = window, weight = window;
    relu.push_back(1);
    input.insert(input.end(), {side, side});
    weight.insert(weight.end(), {3, 3});
    const dw_aval x = image(size, c), w = shape({c, 3, 3, 1}), v = shape({c});
    const double flops = 18.0 * static_cast<double>(plugin::elements(x));
    switch (before) {
      case Before::relu:
        add(name + " depthwiseRelu", {DW_OP_depthwiseRelu, {x, w}, {x}, relu}, flops);
        add(name + " depthwiseReluGrad", {DW_OP_depthwiseReluGrad, {x, x, w, x}, {x, w}, relu}, 2 * flops);
        break;
      case Before::affineRelu:
        add(name + " depthwiseAffine", {DW_OP_depthwiseAffine, {x, v, v, w}, {x}, relu}, flops);
        add(name + " depthwiseAffineGrad", {DW_OP_depthwiseAffineGrad, {x, x, v, v, w}, {x, w, v, v}, relu},
            2 * flops);
        break;
      default:
        if (before == Before::activated)
          add(name + " depthwiseAffine", {DW_OP_depthwiseAffine, {x, v, v, w}, {x}, relu}, flops);
        else
          add(name + " depthwise conv2d", {DW_OP_conv2d, {x, w}, {x}, window}, flops);
        add(name + " depthwise InputGrad", {DW_OP_conv2dInputGrad, {x, w}, {x}, input}, flops);
        add(name + " depthwise WeightGrad", {DW_OP_conv2dWeightGrad, {x, x}, {w}, weight}, flops);
    }
    convolution(name, c, o, 1, 1, true, size, size);
    normalizationGrad(name, size, o);
  }

  void normalizationGrad(const std::string& name, int64_t side, int64_t c) {
    const dw_aval x = image(side, c), v = shape({c});
    add(name + " channelAffine2", {DW_OP_channelAffine2, {x, x, v, v, v}, {x}, {}});
  }

  // The normalization and ReLU of an activation that several read, and their gradient.
  void activation(const std::string& name, int64_t c) {
    const dw_aval x = image(size, c), v = shape({c});
    add(name + " affineRelu", {DW_OP_affineRelu, {x, v, v}, {x}, {}});
    add(name + " affineReluGrad", {DW_OP_affineReluGrad, {x, x, v, v}, {x, v, v}, {}});
  }

  void down(const std::string& name, int64_t c, int64_t middle, int64_t o, Before before) {
    separable(name + "_sepconv1", c, middle, before);
    separable(name + "_sepconv2", middle, o, Before::affineRelu);
    const int64_t half = (size + 1) / 2, pad = size % 2;
    const double p = static_cast<double>(pad), side = static_cast<double>(size);
    const std::vector<double> pool = {3, 3, 2, 2, p, 1, p, 1};
    std::vector<double> poolGrad = pool;
    poolGrad.insert(poolGrad.end(), {side, side});
    const dw_aval x = image(size, o), y = image(half, o), index = image(half, o, DW_U8), v = shape({o});
    add(name + "_pool affineMaxPoolAdd", {DW_OP_affineMaxPoolAdd, {x, v, v, y}, {y, index}, pool});
    add(name + "_pool maxPoolGradSums", {DW_OP_maxPoolGradSums, {y, index, x}, {x, v, v}, poolGrad});
    convolution(name + "_shortcut", c, o, 1, 2, true, size, half);
    add(name + "_shortcut channelAffine", {DW_OP_channelAffine, {y, v, v}, {y}, {}});
    add(name + "_shortcut channelGradSums", {DW_OP_channelGradSums, {y, y}, {v, v}, {}});
    normalizationGrad(name + "_shortcut", half, o);
    size = half;
  }

  int64_t n, size;
  int times = 1;

 private:
  std::vector<Instruction> list_;
};

std::vector<Instruction> xception(int64_t batch, int64_t pixels) {
  Step step(batch, pixels);
  int64_t out = (pixels - 3) / 2 + 1;
  step.convolution("block1_conv1", 3, 32, 3, 2, false, pixels, out);
  step.size = out;
  step.normalizationGrad("block1_conv1", out, 32);
  step.activation("block1_conv1", 32);
  step.convolution("block1_conv2", 32, 64, 3, 1, true, out, out - 2);
  step.size = out - 2;
  step.normalizationGrad("block1_conv2", step.size, 64);
  step.activation("block1_conv2", 64);
  step.down("block2", 64, 128, 128, Step::Before::activated);
  step.down("block3", 128, 256, 256, Step::Before::relu);
  step.down("block4", 256, 728, 728, Step::Before::relu);
  step.times = 8;
  step.separable("block5-12_sepconv1", 728, 728, Step::Before::relu);
  step.times = 16;
  step.separable("block5-12_sepconv2,3", 728, 728, Step::Before::affineRelu);
  step.times = 8;
  const dw_aval x = step.image(step.size, 728), v = shape({728});
  step.add("block5-12 affineAdd", {DW_OP_affineAdd, {x, v, v, x}, {x}, {}});
  step.add("block5-12 channelGradSums", {DW_OP_channelGradSums, {x, x}, {v, v}, {}});
  step.times = 1;
  step.down("block13", 728, 728, 1024, Step::Before::relu);
  step.separable("block14_sepconv1", 1024, 1536, Step::Before::nothing);
  step.separable("block14_sepconv2", 1536, 2048, Step::Before::affineRelu);
  step.activation("block14_sepconv2", 2048);
  const dw_aval w = shape({22855952}), scalar = shape({});
  step.add("momentumUpdate", {DW_OP_momentumUpdate, {w, w, w, scalar}, {w, w}, {0.9, 0, 1e-5}});
  return step.instructions();
}

// The fastest of some runs, in seconds; negative where the op is not supported.
double time(plugin::Plugin& plugin, const Node& node, int repeats) {
  plugin::Kernel kernel(plugin, node);
  if (kernel.status == DW_UNSUPPORTED) return -1;
  if (kernel.status != DW_OK) plugin::die(plugin.error.message);
  for (size_t i = 0; i < node.inputs.size(); i++) {
    const dw_aval& aval = node.inputs[i];
    if (aval.dtype == DW_F32) {
      float* x = static_cast<float*>(kernel.inputs[i]);
      for (int64_t j = 0; j < plugin::elements(aval); j++)
        x[j] = static_cast<float>(j * 2654435761u % 1000) / 1000 - 0.5f;
    } else {
      uint8_t* x = static_cast<uint8_t*>(kernel.inputs[i]);
      for (size_t j = 0; j < plugin::bytes(aval); j++) x[j] = static_cast<uint8_t>(j * 2654435761u % 9);
    }
  }
  double best = 1e9;
  for (int i = 0; i <= repeats; i++) {
    const double start = now();
    if (kernel.launch() != DW_OK) plugin::die(plugin.error.message);
    if (i > 0) best = std::min(best, now() - start);
  }
  return best;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) plugin::die("usage: cpu_step libdepthwise_cpu.so [threads] [batch] [size] [repeats] [name]");
  const auto number = [&](int i, int otherwise) { return count > i ? std::atoi(arguments[i]) : otherwise; };
  plugin::Plugin plugin(arguments[1], number(2, 0));
  cpuTime = number(2, 0) == 1;
  std::printf("%s, %s\n", plugin.describe().c_str(), cpuTime ? "time of the thread" : "time on the clock");
  const std::string only = count > 6 ? arguments[6] : "";
  const int batch = number(3, 8);
  double total = 0, products = 0, flops = 0;
  for (const Instruction& i : xception(batch, number(4, 299))) {
    if (i.name.find(only) == std::string::npos) continue;
    const double seconds = time(plugin, i.node, number(5, 3));
    if (seconds < 0) {
      std::printf("%-42s unsupported\n", i.name.c_str());
      continue;
    }
    size_t moved = 0;
    for (const dw_aval& aval : i.node.inputs) moved += plugin::bytes(aval);
    for (const dw_aval& aval : i.node.outputs) moved += plugin::bytes(aval);
    std::printf("%-42s %8.2f ms %6.1f GB/s %6.1f GFLOP/s  x%-2d %7.1f ms\n", i.name.c_str(), seconds * 1e3,
                static_cast<double>(moved) / seconds / 1e9, i.flops / seconds / 1e9, i.times,
                seconds * i.times * 1e3);
    total += seconds * i.times;
    flops += i.flops * i.times;
    if (i.name.find("conv2d") != std::string::npos) products += seconds * i.times;
  }
  std::printf("one step: %.0f ms, of which convolutions %.0f; %.0f GFLOP/s; %.2f images/s\n", total * 1e3,
              products * 1e3, flops / total / 1e9, batch / total);
}
