// Holds the CPU plug-in's ops against plain loops in f64, through the C interface, on shapes chosen to be
// awkward.
//
//   cpu_smoke build/Release/libdepthwise_cpu.so
#include <algorithm>
#include <cmath>

#include "plugin.h"

namespace {

using plugin::elements;
using plugin::Kernel;
using plugin::Node;
using plugin::shape;

int failures = 0, checks = 0;

struct Random {
  uint64_t state = 88172645463325252u;
  double next() {  // -1 to 1
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return static_cast<double>(state >> 11) / 4503599627370496.0 - 1;
  }
  int64_t below(int64_t n) { return static_cast<int64_t>((next() + 1) / 2 * static_cast<double>(n)) % n; }
};
Random generator;

using Values = std::vector<double>;

Values randomValues(int64_t n) {
  Values v(static_cast<size_t>(n));
  for (double& x : v) x = static_cast<float>(generator.next());
  return v;
}

void expect(bool condition, const std::string& what) {
  checks++;
  if (condition) return;
  failures++;
  std::printf("FAIL %s\n", what.c_str());
}

void expectNear(const Values& got, const Values& wanted, const std::string& what, double tolerance = 1e-5) {
  double difference = 0, norm = 0;
  bool finite = got.size() == wanted.size();
  for (size_t i = 0; finite && i < got.size(); i++) {
    finite = std::isfinite(got[i]);
    difference += (got[i] - wanted[i]) * (got[i] - wanted[i]);
    norm += wanted[i] * wanted[i];
  }
  const double error = std::sqrt(difference / (norm > 0 ? norm : 1));
  expect(finite && error <= tolerance, what + ": relative error " + std::to_string(error));
}

// Runs a node on f32 values; i32 and u8 operands are converted from them.
std::vector<Values> run(plugin::Plugin& plugin, const Node& node, const std::vector<Values>& inputs) {
  Kernel kernel(plugin, node);
  if (kernel.status != DW_OK) plugin::die(plugin.error.message);
  for (size_t i = 0; i < inputs.size(); i++) {
    for (size_t j = 0; j < inputs[i].size(); j++) {
      const double value = inputs[i][j];
      if (node.inputs[i].dtype == DW_F32)
        static_cast<float*>(kernel.inputs[i])[j] = static_cast<float>(value);
      if (node.inputs[i].dtype == DW_I32)
        static_cast<int32_t*>(kernel.inputs[i])[j] = static_cast<int32_t>(value);
      if (node.inputs[i].dtype == DW_U8)
        static_cast<uint8_t*>(kernel.inputs[i])[j] = static_cast<uint8_t>(value);
    }
  }
  for (size_t i = 0; i < node.outputs.size(); i++)  // NaN, so that what is not written shows
    std::memset(kernel.outputs[i], 0xff, plugin::bytes(node.outputs[i]));
  if (kernel.launch() != DW_OK) plugin::die(plugin.error.message);
  std::vector<Values> outputs;
  for (size_t i = 0; i < node.outputs.size(); i++) {
    Values values(static_cast<size_t>(elements(node.outputs[i])));
    for (size_t j = 0; j < values.size(); j++) {
      if (node.outputs[i].dtype == DW_F32) values[j] = static_cast<float*>(kernel.outputs[i])[j];
      if (node.outputs[i].dtype == DW_I32) values[j] = static_cast<int32_t*>(kernel.outputs[i])[j];
      if (node.outputs[i].dtype == DW_U8) values[j] = static_cast<uint8_t*>(kernel.outputs[i])[j];
    }
    outputs.push_back(values);
  }
  return outputs;
}

struct Conv {
  int64_t n, h, w, c, o, kh, kw, sh, sw, top, bottom, left, right, dh, dw, groups;
};

void testConvolution(plugin::Plugin& plugin, const Conv& v) {
  const int64_t oh = (v.h + v.top + v.bottom - (v.kh - 1) * v.dh - 1) / v.sh + 1;
  const int64_t ow = (v.w + v.left + v.right - (v.kw - 1) * v.dw - 1) / v.sw + 1;
  const int64_t cg = v.c / v.groups, og = v.o / v.groups;
  const dw_aval xs = shape({v.n, v.h, v.w, v.c}), ws = shape({v.o, v.kh, v.kw, cg}),
                ys = shape({v.n, oh, ow, v.o});
  const Values x = randomValues(elements(xs)), w = randomValues(elements(ws)), g = randomValues(elements(ys));
  Values y(g.size()), dx(x.size()), dw(w.size());
  for (int64_t n = 0; n < v.n; n++)
    for (int64_t i = 0; i < oh; i++)
      for (int64_t j = 0; j < ow; j++)
        for (int64_t o = 0; o < v.o; o++)
          for (int64_t a = 0; a < v.kh; a++)
            for (int64_t b = 0; b < v.kw; b++) {
              const int64_t row = i * v.sh - v.top + a * v.dh, column = j * v.sw - v.left + b * v.dw;
              if (row < 0 || row >= v.h || column < 0 || column >= v.w) continue;
              const size_t at = static_cast<size_t>(((n * oh + i) * ow + j) * v.o + o);
              for (int64_t c = 0; c < cg; c++) {
                const size_t xi =
                    static_cast<size_t>(((n * v.h + row) * v.w + column) * v.c + o / og * cg + c);
                const size_t wi = static_cast<size_t>(((o * v.kh + a) * v.kw + b) * cg + c);
                y[at] += x[xi] * w[wi];
                dx[xi] += g[at] * w[wi];
                dw[wi] += g[at] * x[xi];
              }
            }
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  const Values window = {number(v.sh),    number(v.sw), number(v.top), number(v.bottom), number(v.left),
                         number(v.right), number(v.dh), number(v.dw),  number(v.groups)};
  Values input = window, weight = window;
  input.insert(input.end(), {number(v.h), number(v.w)});
  weight.insert(weight.end(), {number(v.kh), number(v.kw)});
  std::string name;
  for (const int64_t* p = &v.n; p <= &v.groups; p++) name += " " + std::to_string(*p);
  expectNear(run(plugin, {DW_OP_conv2d, {xs, ws}, {ys}, window}, {x, w})[0], y, "conv2d" + name);
  expectNear(run(plugin, {DW_OP_conv2dInputGrad, {ys, ws}, {xs}, input}, {g, w})[0], dx,
             "conv2dInputGrad" + name);
  expectNear(run(plugin, {DW_OP_conv2dWeightGrad, {xs, ys}, {ws}, weight}, {x, g})[0], dw,
             "conv2dWeightGrad" + name);
}

void testConvolutions(plugin::Plugin& plugin) {
  // n h w c o kh kw sh sw top bottom left right dh dw groups
  const Conv cases[] = {{2, 9, 11, 3, 32, 3, 3, 2, 2, 0, 0, 0, 0, 1, 1, 1},
                        {1, 8, 8, 32, 64, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1},
                        {2, 7, 7, 728, 728, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
                        {3, 40, 40, 16, 24, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
                        {2, 9, 8, 64, 128, 1, 1, 2, 2, 0, 0, 0, 0, 1, 1, 1},
                        {2, 9, 9, 728, 728, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 728},
                        {1, 8, 8, 64, 64, 3, 3, 2, 2, 0, 1, 0, 1, 1, 1, 64},
                        {2, 6, 5, 12, 20, 3, 2, 1, 2, 1, 2, 0, 1, 1, 1, 4},
                        {1, 10, 10, 5, 7, 3, 3, 3, 3, 0, 2, 1, 1, 1, 1, 1},
                        {1, 11, 11, 8, 8, 3, 3, 1, 1, 2, 2, 2, 2, 2, 2, 8},
                        {2, 12, 9, 6, 10, 3, 3, 2, 1, 1, 2, 3, 0, 2, 3, 2},
                        {1, 1, 1, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1},
                        {1, 1, 17, 1, 1, 1, 7, 1, 1, 0, 0, 3, 3, 1, 1, 1},
                        {2, 17, 1, 16, 16, 7, 1, 1, 1, 3, 3, 0, 0, 1, 1, 1},
                        {1, 5, 5, 6, 12, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 6},
                        {2, 4, 4, 33, 33, 5, 5, 1, 1, 2, 2, 2, 2, 1, 1, 33},
                        {1, 3, 3, 2, 3, 2, 2, 1, 1, 4, 4, 4, 4, 1, 1, 1},
                        {1, 7, 7, 1, 40, 3, 3, 2, 2, 1, 1, 1, 1, 1, 1, 1},
                        {0, 7, 7, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                        {1, 13, 13, 48, 48, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3},
                        // those of winograd.cc: whole tiles and parts of tiles, every margin, channels of all
                        // widths, several chunks of an image and several images
                        {2, 18, 20, 32, 64, 3, 3, 1, 1, 0, 0, 0, 0, 1, 1, 1},
                        {1, 21, 22, 16, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                        {3, 15, 14, 17, 30, 3, 3, 1, 1, 2, 0, 1, 2, 1, 1, 1},
                        {1, 40, 33, 100, 27, 3, 3, 1, 1, 0, 2, 2, 1, 1, 1, 1},
                        {1, 1, 300, 20, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                        {4, 17, 17, 128, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
  for (const Conv& conv : cases) testConvolution(plugin, conv);
}

struct PoolCase {
  int64_t n, h, w, c, kh, kw, sh, sw, top, bottom, left, right;
};

void testPool(plugin::Plugin& plugin, const PoolCase& v) {
  const int64_t oh = (v.h + v.top + v.bottom - v.kh) / v.sh + 1,
                ow = (v.w + v.left + v.right - v.kw) / v.sw + 1;
  const dw_aval xs = shape({v.n, v.h, v.w, v.c}), ys = shape({v.n, oh, ow, v.c});
  const dw_aval is = shape({v.n, oh, ow, v.c}, DW_U8);
  Values x = randomValues(elements(xs));
  for (double& value : x) value = std::round(value * 4) / 4;  // ties: the first must win
  const Values g = randomValues(elements(ys));
  Values y(g.size()), index(g.size()), dx(x.size()), mean(g.size()), padded(g.size()), dMean(x.size());
  for (int64_t n = 0; n < v.n; n++)
    for (int64_t i = 0; i < oh; i++)
      for (int64_t j = 0; j < ow; j++)
        for (int64_t c = 0; c < v.c; c++) {
          const size_t at = static_cast<size_t>(((n * oh + i) * ow + j) * v.c + c);
          double best = -1e9, total = 0;
          size_t winner = 0;
          std::vector<size_t> inside;
          for (int64_t a = 0; a < v.kh; a++)
            for (int64_t b = 0; b < v.kw; b++) {
              const int64_t row = i * v.sh - v.top + a, column = j * v.sw - v.left + b;
              if (row < 0 || row >= v.h || column < 0 || column >= v.w) continue;
              const size_t from = static_cast<size_t>(((n * v.h + row) * v.w + column) * v.c + c);
              inside.push_back(from);
              total += x[from];
              if (x[from] <= best) continue;
              best = x[from];
              winner = from;
              index[at] = static_cast<double>(a * v.kw + b);
            }
          y[at] = best;
          dx[winner] += g[at];
          mean[at] = total / static_cast<double>(inside.size());
          padded[at] = total / static_cast<double>(v.kh * v.kw);
          for (size_t from : inside) dMean[from] += g[at] / static_cast<double>(inside.size());
        }
  Values window;
  for (const int64_t* p = &v.kh; p <= &v.right; p++) window.push_back(static_cast<double>(*p));
  std::string name;
  for (const int64_t* p = &v.n; p <= &v.right; p++) name += " " + std::to_string(*p);
  const auto with = [&](std::initializer_list<double> more) {
    Values attributes = window;
    attributes.insert(attributes.end(), more);
    return attributes;
  };
  const double h = static_cast<double>(v.h), w = static_cast<double>(v.w);
  const auto pooled = run(plugin, {DW_OP_maxPool, {xs}, {ys, is}, window}, {x});
  expectNear(pooled[0], y, "maxPool" + name, 0);
  expectNear(pooled[1], index, "maxPool argmax" + name, 0);
  expectNear(run(plugin, {DW_OP_maxPoolGrad, {ys, is}, {xs}, with({h, w})}, {g, index})[0], dx,
             "maxPoolGrad" + name);
  expectNear(run(plugin, {DW_OP_avgPool, {xs}, {ys}, with({0})}, {x})[0], mean, "avgPool" + name);
  expectNear(run(plugin, {DW_OP_avgPool, {xs}, {ys}, with({1})}, {x})[0], padded,
             "avgPool counting padding" + name);
  expectNear(run(plugin, {DW_OP_avgPoolGrad, {ys}, {xs}, with({0, h, w})}, {g})[0], dMean,
             "avgPoolGrad" + name);
}

void testPools(plugin::Plugin& plugin) {
  const PoolCase cases[] = {{2, 9, 9, 128, 3, 3, 2, 2, 1, 1, 1, 1},  {1, 8, 7, 728, 3, 3, 2, 2, 0, 1, 1, 1},
                            {2, 5, 6, 3, 2, 3, 1, 2, 1, 0, 0, 2},    {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0},
                            {1, 10, 10, 29, 3, 3, 3, 3, 0, 0, 0, 0}, {1, 12, 12, 77, 5, 5, 1, 1, 2, 2, 2, 2}};
  for (const PoolCase& pool : cases) testPool(plugin, pool);
}

void testSums(plugin::Plugin& plugin) {
  for (const auto& [rows, c] :
       std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {7, 3}, {1000, 728}, {70001, 5}, {300, 2500}}) {
    const dw_aval xs = shape({rows, c}), cs = shape({c});
    const Values x = randomValues(rows * c), g = randomValues(rows * c);
    Values sum(static_cast<size_t>(c)), square(sum), sumG(sum), product(sum);
    for (size_t i = 0; i < x.size(); i++) {
      const size_t j = i % static_cast<size_t>(c);
      sum[j] += x[i], square[j] += x[i] * x[i], sumG[j] += g[i], product[j] += g[i] * x[i];
    }
    const std::string name = " " + std::to_string(rows) + " x " + std::to_string(c);
    const auto sums = run(plugin, {DW_OP_channelSums, {xs}, {cs, cs}, {}}, {x});
    expectNear(sums[0], sum, "channelSums" + name, 2e-6);
    expectNear(sums[1], square, "channelSums squares" + name, 2e-7);
    const auto gradSums = run(plugin, {DW_OP_channelGradSums, {xs, xs}, {cs, cs}, {}}, {g, x});
    expectNear(gradSums[0], sumG, "channelGradSums" + name, 2e-6);
    expectNear(gradSums[1], product, "channelGradSums product" + name, 2e-6);
    expectNear(run(plugin, {DW_OP_sum, {xs}, {cs}, {0, 0}}, {x})[0], sum, "sum over rows" + name, 2e-6);
  }
  // Every subset of the axes of a tensor of rank 5, one of which has one element.
  const int64_t dims[] = {3, 4, 1, 5, 6};
  const dw_aval xs = shape({3, 4, 1, 5, 6});
  const Values x = randomValues(elements(xs));
  for (int mask = 0; mask < 32; mask++) {
    dw_aval ys = shape({});
    Values attributes = {0};
    for (int i = 0; i < 5; i++) {
      if (mask >> i & 1)
        attributes.push_back(i);
      else
        ys.dims[ys.rank++] = dims[i];
    }
    Values wanted(static_cast<size_t>(elements(ys)));
    for (int64_t at = 0; at < elements(xs); at++) {
      int64_t rest = at, index = 0, stride = 1;
      for (int i = 4; i >= 0; i--) {
        if (!(mask >> i & 1)) {
          index += rest % dims[i] * stride;
          stride *= dims[i];
        }
        rest /= dims[i];
      }
      wanted[static_cast<size_t>(index)] += x[static_cast<size_t>(at)];
    }
    expectNear(run(plugin, {DW_OP_sum, {xs}, {ys}, attributes}, {x})[0], wanted,
               "sum, axes " + std::to_string(mask), 1e-6);
  }
}

void testActivations(plugin::Plugin& plugin) {
  Values x = {-200, -104, -87.5, -20, -1, -1e-3, -1e-7, -0.0, 0, 1e-7, 0.1, 1, 20, 80, 200, -INFINITY};
  for (int i = 0; i < 100; i++) x.push_back(static_cast<float>(generator.next() * 10));
  const dw_aval xs = shape({static_cast<int64_t>(x.size())});
  const auto test = [&](dw_op op, const Values& attributes, double (*exact)(double), const char* name) {
    const Values y = run(plugin, {op, {xs}, {xs}, attributes}, {x})[0];
    double worst = 0;
    for (size_t i = 0; i < x.size(); i++)
      worst = std::max(worst, std::fabs(y[i] - exact(x[i])) / std::max(std::fabs(exact(x[i])), 1e-30));
    expect(worst <= 4e-7, std::string(name) + ": relative error " + std::to_string(worst * 1e7) + "e-7");
  };
  test(DW_OP_elu, {1}, [](double v) { return v > 0 ? v : std::expm1(v); }, "elu");
  test(DW_OP_sigmoid, {}, [](double v) { return 1 / (1 + std::exp(-v)); }, "sigmoid");
  test(DW_OP_relu, {}, [](double v) { return v > 0 ? v : 0; }, "relu");
  const Values nan(17, NAN);
  const dw_aval ns = shape({17});
  for (dw_op op : {DW_OP_relu, DW_OP_sigmoid})
    expect(std::isnan(run(plugin, {op, {ns}, {ns}, {}}, {nan})[0][16]), "NaN passes");
  expect(std::isnan(run(plugin, {DW_OP_elu, {ns}, {ns}, {1}}, {nan})[0][16]), "NaN passes through elu");
}

// The known answers of Random123 for philox4x32-10 with all words 0, by way of the words' comparison with the
// rate.
void testDropout(plugin::Plugin& plugin) {
  const uint32_t words[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const dw_aval xs = shape({1003});
  for (int i = 0; i < 4; i++) {
    for (uint32_t threshold : {words[i], words[i] + 1}) {
      const double rate = threshold / 4294967296.0;
      const Values y = run(plugin, {DW_OP_dropout, {xs, shape({2}, DW_I32)}, {xs}, {rate, 0}},
                           {Values(1003, 1.0), {0, 0}})[0];
      const double kept = words[i] >= threshold ? static_cast<float>(1 / (1 - rate)) : 0;
      expect(y[static_cast<size_t>(i)] == kept, "dropout: word " + std::to_string(i));
    }
  }
}

void testErrors(plugin::Plugin& plugin) {
  const dw_aval logits = shape({2, 5}), labels = shape({2}, DW_I32), loss = shape({2});
  Kernel kernel(plugin, {DW_OP_softmaxCrossEntropy, {logits, labels}, {loss}, {0}});
  std::memset(kernel.inputs[0], 0, plugin::bytes(logits));
  static_cast<int32_t*>(kernel.inputs[1])[0] = 4;
  static_cast<int32_t*>(kernel.inputs[1])[1] = 5;
  expect(kernel.launch() == DW_DEVICE_ERROR && std::strstr(plugin.error.message, "label 5 at index 1"),
         "a label out of range is named");
  const auto status = [&](const Node& node) {
    const dw_node view = node.view();
    return plugin.api->supports(plugin.device, &view, &plugin.error);
  };
  const dw_aval wide = shape({3}, DW_F64);
  expect(status({DW_OP_relu, {wide}, {wide}, {}}) == DW_UNSUPPORTED, "f64 is unsupported");
  expect(status({DW_OP_add, {shape({3}), shape({4})}, {shape({3})}, {}}) == DW_INVALID, "shapes that differ");
  expect(status({DW_OP_relu, {}, {shape({3})}, {}}) == DW_INVALID, "a missing input");
  expect(status({999, {}, {}, {}}) == DW_UNSUPPORTED, "an unknown op");
  void* pointer = nullptr;
  expect(plugin.api->allocate(plugin.device, size_t{1} << 50, &pointer, &plugin.error) == DW_OUT_OF_MEMORY &&
             plugin.error.requested == size_t{1} << 50 && plugin.error.free > 0,
         "too much memory");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) plugin::die("usage: cpu_smoke libdepthwise_cpu.so");
  for (int threads : {1, 3}) {
    plugin::Plugin plugin(arguments[1], threads);
    std::printf("%s\n", plugin.describe().c_str());
    testConvolutions(plugin);
    testPools(plugin);
    testSums(plugin);
    testActivations(plugin);
    testDropout(plugin);
    testErrors(plugin);
  }
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
