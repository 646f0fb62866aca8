// Times every convolution of Xception, each direction, and the ops bound by memory, through the C interface.
//
//   cpu_bench build/Release/libdepthwise_cpu.so [threads] [batch] [size, 0: no convolutions] [repeats]
//   cpu_bench build/Release/libdepthwise_cpu.so [threads] [batch] fused [repeats] [part of a name] [image size]
//
// The second form times the fused ops of a training step, one by one at their shapes.
#include <time.h>

#include <algorithm>

#include "plugin.h"

namespace {

using plugin::Kernel;
using plugin::Node;
using plugin::shape;

struct Layer {
  std::string name;
  int64_t size, c, o, kernel, stride, pad,
      groups;  // pad: before, as TensorFlow's `same` has it where stride is 2
  int times;
};

bool cpuTime = false;

// Seconds. With one thread the thread's own time, which other programs on the machine disturb less.
double now() {
  timespec t;
  clock_gettime(cpuTime ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Every convolution of Xception at `size` pixels, equal ones together.
std::vector<Layer> xceptionLayers(int64_t size) {
  std::vector<Layer> layers;
  int64_t s = size;
  layers.push_back({"block1_conv1", s, 3, 32, 3, 2, 0, 1, 1});
  s = (s - 3) / 2 + 1;
  layers.push_back({"block1_conv2", s, 32, 64, 3, 1, 0, 1, 1});
  s -= 2;
  const auto separable = [&](const std::string& name, int64_t c, int64_t o, int times) {
    layers.push_back({name + " depthwise", s, c, c, 3, 1, 1, c, times});
    layers.push_back({name + " pointwise", s, c, o, 1, 1, 0, 1, times});
  };
  const auto down = [&](const std::string& name, int64_t c, int64_t middle, int64_t o) {
    separable(name + "_sepconv1", c, middle, 1);
    separable(name + "_sepconv2", middle, o, 1);
    layers.push_back({name + "_shortcut", s, c, o, 1, 2, 0, 1, 1});
    s = (s + 1) / 2;
  };
  down("block2", 64, 128, 128);
  down("block3", 128, 256, 256);
  down("block4", 256, 728, 728);
  separable("block5-12", 728, 728, 24);
  down("block13", 728, 728, 1024);
  separable("block14_sepconv1", 1024, 1536, 1);
  separable("block14_sepconv2", 1536, 2048, 1);
  return layers;
}

// Fills the caches with something else.
void emptyCaches() {
  static std::vector<char> other(size_t{64} << 20);
  for (size_t i = 0; i < other.size(); i += 64) other[i]++;
}

// The fastest of some runs, in seconds. Operands get small numbers first, as denormal ones would be slow.
// `cold`: as in a step, where other ops have used the caches in between.
double time(plugin::Plugin& plugin, const Node& node, int repeats, bool cold = false) {
  Kernel kernel(plugin, node);
  if (kernel.status != DW_OK) plugin::die(plugin.error.message);
  for (size_t i = 0; i < node.inputs.size(); i++) {
    if (node.inputs[i].dtype != DW_F32) {
      std::memset(kernel.inputs[i], 0, plugin::bytes(node.inputs[i]));
      continue;
    }
    float* x = static_cast<float*>(kernel.inputs[i]);
    for (int64_t j = 0; j < plugin::elements(node.inputs[i]); j++)
      x[j] = static_cast<float>(j * 2654435761u % 1000) / 1000 - 0.5f;
  }
  double best = 1e9;
  for (int i = 0; i <= repeats; i++) {
    if (cold) emptyCaches();
    const double start = now();
    if (kernel.launch() != DW_OK) plugin::die(plugin.error.message);
    if (i > 0) best = std::min(best, now() - start);
  }
  return best;
}

void benchmarkConvolutions(plugin::Plugin& plugin, int64_t n, int64_t size, int repeats) {
  std::printf("%-28s %22s %24s\n", "", "ms: y, dx, dw", "GFLOP/s: y, dx, dw");
  double totals[3] = {}, flops = 0;
  for (const Layer& l : xceptionLayers(size)) {
    const int64_t after = l.pad;
    const int64_t out = (l.size + l.pad + after - l.kernel) / l.stride + 1;
    const double p = static_cast<double>(l.pad), s = static_cast<double>(l.stride),
                 k = static_cast<double>(l.kernel);
    const double side = static_cast<double>(l.size);
    const dw_aval x = shape({n, l.size, l.size, l.c}), y = shape({n, out, out, l.o});
    const dw_aval w = shape({l.o, l.kernel, l.kernel, l.c / l.groups});
    const std::vector<double> window = {s, s, p, p, p, p, 1, 1, static_cast<double>(l.groups)};
    std::vector<double> input = window, weight = window;
    input.insert(input.end(), {side, side});
    weight.insert(weight.end(), {k, k});
    const double t[3] = {time(plugin, {DW_OP_conv2d, {x, w}, {y}, window}, repeats),
                         time(plugin, {DW_OP_conv2dInputGrad, {y, w}, {x}, input}, repeats),
                         time(plugin, {DW_OP_conv2dWeightGrad, {x, y}, {w}, weight}, repeats)};
    const double work = 2.0 * static_cast<double>(plugin::elements(y) * l.kernel * l.kernel * l.c / l.groups);
    std::printf("%-28s %7.2f %7.2f %7.2f   %6.0f %6.0f %6.0f   x%d\n", l.name.c_str(), t[0] * 1e3, t[1] * 1e3,
                t[2] * 1e3, work / t[0] / 1e9, work / t[1] / 1e9, work / t[2] / 1e9, l.times);
    for (int i = 0; i < 3; i++) totals[i] += t[i] * l.times;
    flops += work * l.times;
  }
  const double all = totals[0] + totals[1] + totals[2];
  std::printf("%-28s %7.0f %7.0f %7.0f = %.0f ms, %.0f GFLOP/s\n", "all convolutions", totals[0] * 1e3,
              totals[1] * 1e3, totals[2] * 1e3, all * 1e3, 3 * flops / all / 1e9);
}

// The ops that do little more than read and write: GB/s against a copy's.
void benchmarkMemory(plugin::Plugin& plugin, int64_t n, int repeats) {
  const dw_aval x = shape({n, 147, 147, 128}), small = shape({n, 74, 74, 128}), c = shape({128});
  const dw_aval index = shape({n, 74, 74, 128}, DW_U8), flat = shape({plugin::elements(x)});
  const dw_aval images = shape({n, 299, 299, 3}, DW_U8), pixels = shape({n, 299, 299, 3}), three = shape({3});
  const dw_aval w = shape({22855952}), scalar = shape({});
  const std::vector<double> pool = {3, 3, 2, 2, 1, 1, 1, 1};
  std::vector<double> poolGrad = pool;
  poolGrad.insert(poolGrad.end(), {147, 147});
  const std::vector<Node> nodes = {
      {DW_OP_reshape, {x}, {flat}, {static_cast<double>(plugin::elements(x))}},
      {DW_OP_relu, {x}, {x}, {}},
      {DW_OP_reluGrad, {x, x}, {x}, {}},
      {DW_OP_elu, {x}, {x}, {1}},
      {DW_OP_add, {x, x}, {x}, {}},
      {DW_OP_channelSums, {x}, {c, c}, {}},
      {DW_OP_channelGradSums, {x, x}, {c, c}, {}},
      {DW_OP_channelAffine, {x, c, c}, {x}, {}},
      {DW_OP_sum, {x}, {c}, {0, 0, 1, 2}},
      {DW_OP_sum, {x}, {scalar}, {0, 0, 1, 2, 3}},
      {DW_OP_maxPool, {x}, {small, index}, pool},
      {DW_OP_maxPoolGrad, {small, index}, {x}, poolGrad},
      {DW_OP_normalizeImages, {images, three, three}, {pixels}, {DW_F32}},
      {DW_OP_dropout, {x, shape({2}, DW_I32)}, {x}, {0.5, 0}},
      {DW_OP_momentumUpdate, {w, w, w, scalar}, {w, w}, {0.9, 0, 1e-5, -1}},
      {DW_OP_adamUpdate, {w, w, w, w, scalar, scalar}, {w, w, w}, {0.9, 0.999, 1e-7, 0, -1}},
  };
  const char* names[] = {"copy (reshape)",
                         "relu",
                         "reluGrad",
                         "elu",
                         "add",
                         "channelSums",
                         "channelGradSums",
                         "channelAffine",
                         "sum to channels",
                         "sum to a scalar",
                         "maxPool 3x3/2",
                         "maxPoolGrad 3x3/2",
                         "normalizeImages",
                         "dropout",
                         "momentumUpdate",
                         "adamUpdate"};
  std::printf("\n%-28s %7s %7s\n", "", "ms", "GB/s");
  for (size_t i = 0; i < nodes.size(); i++) {
    size_t moved = 0;
    for (const dw_aval& aval : nodes[i].inputs) moved += plugin::bytes(aval);
    for (const dw_aval& aval : nodes[i].outputs) moved += plugin::bytes(aval);
    const double t = time(plugin, nodes[i], repeats);
    std::printf("%-28s %7.2f %7.1f\n", names[i], t * 1e3, static_cast<double>(moved) / t / 1e9);
  }
}

// The ops that passes fuse around depthwise convolutions, normalization and pooling, with their number in a
// step of training: the sum of all is their share of it.
void benchmarkFused(plugin::Plugin& plugin, int64_t n, int repeats, const char* part, int64_t image) {
  // Sides of the activations of blocks 2, 3, 4, 5 to 13 and 14.
  const int64_t s2 = (image - 3) / 2 - 1, s3 = (s2 + 1) / 2, s4 = (s3 + 1) / 2, s5 = (s4 + 1) / 2, s14 = (s5 + 1) / 2;
  struct Timed {
    const char* name;
    int times;
    dw_aval of;
    Node node;
  };
  std::vector<Timed> list;
  const auto depthwise = [&](int64_t size, int64_t c, int affine, int relu, int affineGrad, int reluGrad) {
    const dw_aval x = shape({n, size, size, c}), v = shape({c}), w = shape({c, 3, 3, 1});
    const std::vector<double> attributes = {1, 1, 1, 1, 1, 1, 1, 1, static_cast<double>(c), 1};
    if (affine)
      list.push_back({"depthwiseAffine", affine, x, {DW_OP_depthwiseAffine, {x, v, v, w}, {x}, attributes}});
    if (relu) list.push_back({"depthwiseRelu", relu, x, {DW_OP_depthwiseRelu, {x, w}, {x}, attributes}});
    if (affineGrad)
      list.push_back({"depthwiseAffineGrad",
                      affineGrad,
                      x,
                      {DW_OP_depthwiseAffineGrad, {x, x, v, v, w}, {x, w, v, v}, attributes}});
    if (reluGrad)
      list.push_back(
          {"depthwiseReluGrad", reluGrad, x, {DW_OP_depthwiseReluGrad, {x, x, w, x}, {x, w}, attributes}});
  };
  const auto pooling = [&](int64_t size, int64_t c) {
    const int64_t half = (size + 1) / 2;
    const dw_aval x = shape({n, size, size, c}), y = shape({n, half, half, c}), v = shape({c});
    const dw_aval index = shape({n, half, half, c}, DW_U8);
    const double before = static_cast<double>(size % 2), side = static_cast<double>(size);
    const std::vector<double> window = {3, 3, 2, 2, before, 1, before, 1};
    std::vector<double> gradient = window;
    gradient.insert(gradient.end(), {side, side});
    list.push_back({"affineMaxPoolAdd", 1, x, {DW_OP_affineMaxPoolAdd, {x, v, v, y}, {y, index}, window}});
    list.push_back({"maxPoolGradSums", 1, x, {DW_OP_maxPoolGradSums, {y, index, x}, {x, v, v}, gradient}});
  };
  const auto channel = [&](int64_t size, int64_t c, int sums, int gradSums, int affine2) {
    const dw_aval x = shape({n, size, size, c}), v = shape({c});
    if (sums) list.push_back({"channelSums", sums, x, {DW_OP_channelSums, {x}, {v, v}, {}}});
    if (gradSums)
      list.push_back({"channelGradSums", gradSums, x, {DW_OP_channelGradSums, {x, x}, {v, v}, {}}});
    if (affine2)
      list.push_back({"channelAffine2", affine2, x, {DW_OP_channelAffine2, {x, x, v, v, v}, {x}, {}}});
  };
  // A 3x3 convolution with sums, without padding, and its gradients.
  const auto dense = [&](int64_t size, int64_t c, int64_t o) {
    const dw_aval x = shape({n, size + 2, size + 2, c}), y = shape({n, size, size, o}), v = shape({o});
    const dw_aval w = shape({o, 3, 3, c});
    const std::vector<double> window = {1, 1, 0, 0, 0, 0, 1, 1, 1};
    const double side = static_cast<double>(size + 2);
    std::vector<double> input = window, weight = window;
    input.insert(input.end(), {side, side});
    weight.insert(weight.end(), {3, 3});
    list.push_back({"conv2dSums 3x3", 1, y, {DW_OP_conv2dSums, {x, w}, {y, v, v}, window}});
    list.push_back({"conv2dInputGrad 3x3", 1, y, {DW_OP_conv2dInputGrad, {y, w}, {x}, input}});
    list.push_back({"conv2dWeightGrad 3x3", 1, y, {DW_OP_conv2dWeightGrad, {x, y}, {w}, weight}});
  };
  // A pointwise convolution with sums, and its gradients.
  const auto pointwise = [&](int64_t size, int64_t c, int64_t o, int times) {
    const dw_aval x = shape({n, size, size, c}), y = shape({n, size, size, o}), v = shape({o});
    const dw_aval w = shape({o, 1, 1, c});
    const std::vector<double> window = {1, 1, 0, 0, 0, 0, 1, 1, 1};
    const double side = static_cast<double>(size);
    std::vector<double> input = window, weight = window;
    input.insert(input.end(), {side, side});
    weight.insert(weight.end(), {1, 1});
    list.push_back({"conv2dSums", times, y, {DW_OP_conv2dSums, {x, w}, {y, v, v}, window}});
    list.push_back({"conv2dInputGrad", times, y, {DW_OP_conv2dInputGrad, {y, w}, {x}, input}});
    list.push_back({"conv2dWeightGrad", times, y, {DW_OP_conv2dWeightGrad, {x, y}, {w}, weight}});
  };
  dense(s2, 32, 64);
  pointwise(s2, 64, 128, 1);
  pointwise(s2, 128, 128, 1);
  pointwise(s3, 128, 256, 1);
  pointwise(s3, 256, 256, 1);
  pointwise(s4, 256, 728, 1);
  pointwise(s4, 728, 728, 1);
  pointwise(s5, 728, 728, 25);
  pointwise(s5, 728, 1024, 1);
  pointwise(s14, 1024, 1536, 1);
  pointwise(s14, 1536, 2048, 1);
  depthwise(s2, 128, 1, 0, 1, 0);
  depthwise(s3, 128, 0, 1, 0, 1);
  depthwise(s3, 256, 1, 0, 1, 0);
  depthwise(s4, 256, 0, 1, 0, 1);
  depthwise(s4, 728, 1, 0, 1, 0);
  depthwise(s5, 728, 17, 9, 17, 9);
  depthwise(s14, 1536, 1, 0, 1, 0);
  {
    const dw_aval x = shape({n, s2, s2, 64}), w = shape({64, 3, 3, 1});
    const std::vector<double> window = {1, 1, 1, 1, 1, 1, 1, 1, 64};
    std::vector<double> input = window, weight = window;
    input.insert(input.end(), {static_cast<double>(s2), static_cast<double>(s2)});
    weight.insert(weight.end(), {3, 3});
    list.push_back({"conv2d", 1, x, {DW_OP_conv2d, {x, w}, {x}, window}});
    list.push_back({"conv2dInputGrad", 1, x, {DW_OP_conv2dInputGrad, {x, w}, {x}, input}});
    list.push_back({"conv2dWeightGrad", 1, x, {DW_OP_conv2dWeightGrad, {x, x}, {w}, weight}});
  }
  pooling(s2, 128);
  pooling(s3, 256);
  pooling(s4, 728);
  pooling(s5, 1024);
  channel(s2, 128, 0, 0, 1);
  channel(s3, 128, 0, 1, 0);
  channel(s4, 256, 0, 1, 0);
  channel(s5, 728, 8, 8, 24);
  std::printf("%-24s %-20s %7s %7s\n", "", "", "ms", "GB/s");
  double total = 0;
  for (const Timed& t : list) {
    if (!std::strstr(t.name, part)) continue;
    size_t moved = 0;
    for (const dw_aval& aval : t.node.inputs) moved += plugin::bytes(aval);
    for (const dw_aval& aval : t.node.outputs) moved += plugin::bytes(aval);
    const double seconds = time(plugin, t.node, repeats, true);
    total += seconds * t.times;
    std::string of;
    for (int32_t i = 0; i < t.of.rank; i++) of += (i > 0 ? "x" : "") + std::to_string(t.of.dims[i]);
    std::printf("%-24s %-20s %7.2f %7.1f   x%d\n", t.name, of.c_str(), seconds * 1e3,
                static_cast<double>(moved) / seconds / 1e9, t.times);
  }
  std::printf("%-45s %7.2f\n", "all", total * 1e3);
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) plugin::die("usage: cpu_bench libdepthwise_cpu.so [threads] [batch] [size] [repeats]");
  const auto number = [&](int i, int otherwise) { return count > i ? std::atoi(arguments[i]) : otherwise; };
  plugin::Plugin plugin(arguments[1], number(2, 0));
  cpuTime = number(2, 0) == 1;
  std::printf("%s, %s\n", plugin.describe().c_str(), cpuTime ? "time of the thread" : "time on the clock");
  const int batch = number(3, 8), repeats = number(5, 3);
  if (count > 4 && std::strcmp(arguments[4], "fused") == 0) {
    benchmarkFused(plugin, batch, repeats, count > 6 ? arguments[6] : "", number(7, 299));
    return 0;
  }
  const int size = number(4, 299);
  if (size > 0) benchmarkConvolutions(plugin, batch, size, repeats);
  benchmarkMemory(plugin, batch, repeats);
}
