// Holds the fused ops against the ops that they stand for, run one after the other, and the depthwise
// convolutions among these against plain loops in f64. Shapes are awkward on purpose.
//
//   cpu_fused build/Release/libdepthwise_cpu.so
#include <algorithm>
#include <cmath>

#include "plugin.h"

namespace {

using plugin::elements;
using plugin::Node;
using plugin::shape;

int failures = 0, checks = 0;
uint64_t state = 88172645463325252u;

double random(double least, double most) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return least + (most - least) * static_cast<double>(state >> 11) / 9007199254740992.0;
}

// A tensor on the host; bytes are held as floats.
struct Array {
  dw_aval aval;
  std::vector<float> values;
};

Array randomArray(const dw_aval& aval) {
  Array array = {aval, std::vector<float>(static_cast<size_t>(elements(aval)))};
  for (float& value : array.values) value = static_cast<float>(random(-1, 1));
  return array;
}

// Runs an op. The output `inPlace` takes the memory of that input, if it is not negative.
std::vector<Array> run(plugin::Plugin& plugin, uint32_t op, const std::vector<Array>& inputs,
                       const std::vector<dw_aval>& outputs, const std::vector<double>& attributes,
                       int inPlace = -1) {
  Node node = {op, {}, outputs, attributes};
  for (const Array& input : inputs) node.inputs.push_back(input.aval);
  plugin::Kernel kernel(plugin, node);
  if (kernel.status != DW_OK) plugin::die(plugin.error.message);
  for (size_t i = 0; i < inputs.size(); i++) {
    const size_t count = inputs[i].values.size();
    if (inputs[i].aval.dtype == DW_U8) {
      std::copy_n(inputs[i].values.data(), count, static_cast<uint8_t*>(kernel.inputs[i]));
    } else {
      std::copy_n(inputs[i].values.data(), count, static_cast<float*>(kernel.inputs[i]));
    }
  }
  for (size_t i = 0; i < outputs.size(); i++)  // NaN, so that what is not written shows
    std::memset(kernel.outputs[i], 0xff, plugin::bytes(outputs[i]));
  void* own = kernel.outputs[0];
  if (inPlace >= 0) kernel.outputs[0] = kernel.inputs[static_cast<size_t>(inPlace)];
  if (kernel.launch() != DW_OK) plugin::die(plugin.error.message);
  std::vector<Array> results;
  for (size_t i = 0; i < outputs.size(); i++) {
    Array result = {outputs[i], std::vector<float>(static_cast<size_t>(elements(outputs[i])))};
    if (outputs[i].dtype == DW_U8)
      std::copy_n(static_cast<const uint8_t*>(kernel.outputs[i]), result.values.size(), result.values.data());
    else
      std::copy_n(static_cast<const float*>(kernel.outputs[i]), result.values.size(), result.values.data());
    results.push_back(std::move(result));
  }
  kernel.outputs[0] = own;
  return results;
}

void expectNear(const Array& got, const Array& wanted, const std::string& what, double tolerance = 2e-6) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < wanted.values.size(); i++) {
    const double a = got.values[i], b = wanted.values[i];
    difference += (a - b) * (a - b), norm += b * b;
  }
  const double error = std::sqrt(difference / std::max(norm, 1e-8));
  checks++;
  if (error <= tolerance) return;
  failures++;
  std::printf("FAIL %s: relative error %g\n", what.c_str(), error);
}

struct Depthwise {
  int64_t n, h, w, c, top, bottom, left, right;

  int64_t oh() const { return h + top + bottom - 2; }
  int64_t ow() const { return w + left + right - 2; }
  dw_aval x() const { return shape({n, h, w, c}); }
  dw_aval y() const { return shape({n, oh(), ow(), c}); }
  std::string name() const {
    return std::to_string(n) + "x" + std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c) +
           " padded " + std::to_string(top) + std::to_string(bottom) + std::to_string(left) +
           std::to_string(right);
  }
  std::vector<double> attributes() const {
    std::vector<double> list = {1, 1};
    for (int64_t i : {top, bottom, left, right, int64_t{1}, int64_t{1}, c}) list.push_back(double(i));
    return list;
  }

  // Calls body(index in x, index in y, index in w) for every product of the convolution.
  template <class Body>
  void products(const Body& body) const {
    for (int64_t i = 0; i < n; i++)
      for (int64_t oy = 0; oy < oh(); oy++)
        for (int64_t ox = 0; ox < ow(); ox++)
          for (int64_t k = 0; k < 9; k++) {
            const int64_t iy = oy - top + k / 3, ix = ox - left + k % 3;
            if (iy < 0 || iy >= h || ix < 0 || ix >= w) continue;
            for (int64_t j = 0; j < c; j++)
              body(((i * h + iy) * w + ix) * c + j, ((i * oh() + oy) * ow() + ox) * c + j, j * 9 + k);
          }
  }

  Array sum(const dw_aval& aval, const std::vector<double>& totals) const {
    return {aval, std::vector<float>(totals.begin(), totals.end())};
  }
  Array forward(const Array& a, const Array& taps) const {
    std::vector<double> totals(static_cast<size_t>(elements(y())));
    products([&](size_t x, size_t to, size_t k) { totals[to] += double(a.values[x]) * taps.values[k]; });
    return sum(y(), totals);
  }
  Array inputGrad(const Array& g, const Array& taps) const {
    std::vector<double> totals(static_cast<size_t>(elements(x())));
    products([&](size_t to, size_t at, size_t k) { totals[to] += double(g.values[at]) * taps.values[k]; });
    return sum(x(), totals);
  }
  Array weightGrad(const Array& a, const Array& g) const {
    std::vector<double> totals(static_cast<size_t>(9 * c));
    products([&](size_t from, size_t at, size_t k) { totals[k] += double(a.values[from]) * g.values[at]; });
    return sum(shape({c, 3, 3, 1}), totals);
  }
};

void checkDepthwise(plugin::Plugin& plugin, const Depthwise& d) {
  const dw_aval v = shape({d.c}), w = shape({d.c, 3, 3, 1});
  const Array x = randomArray(d.x()), g = randomArray(d.y()), taps = randomArray(w);
  const Array scale = randomArray(v), shift = randomArray(v), residual = randomArray(d.x());
  const std::string of = d.name() + ": ";
  std::vector<double> plain = d.attributes(), input = plain, weight = plain;
  input.insert(input.end(), {double(d.h), double(d.w)});
  weight.insert(weight.end(), {3, 3});
  expectNear(run(plugin, DW_OP_conv2d, {x, taps}, {d.y()}, plain)[0], d.forward(x, taps), of + "conv2d");
  expectNear(run(plugin, DW_OP_conv2dInputGrad, {g, taps}, {d.x()}, input)[0], d.inputGrad(g, taps),
             of + "conv2dInputGrad");
  expectNear(run(plugin, DW_OP_conv2dWeightGrad, {x, g}, {w}, weight)[0], d.weightGrad(x, g),
             of + "conv2dWeightGrad", 1e-5);

  for (const bool relu : {false, true}) {
    std::vector<double> attributes = plain;
    attributes.push_back(relu);
    Array a = run(plugin, DW_OP_channelAffine, {x, scale, shift}, {d.x()}, {})[0];
    if (relu) a = run(plugin, DW_OP_relu, {a}, {d.x()}, {})[0];
    const std::string with = of + (relu ? "with ReLU, " : "");
    expectNear(run(plugin, DW_OP_depthwiseAffine, {x, scale, shift, taps}, {d.y()}, attributes)[0],
               d.forward(a, taps), with + "depthwiseAffine");
    Array dx = d.inputGrad(g, taps);
    if (relu) dx = run(plugin, DW_OP_reluGrad, {dx, a}, {d.x()}, {})[0];
    const auto sums = run(plugin, DW_OP_channelGradSums, {dx, x}, {v, v}, {});
    const auto got =
        run(plugin, DW_OP_depthwiseAffineGrad, {g, x, scale, shift, taps}, {d.x(), w, v, v}, attributes);
    expectNear(got[0], dx, with + "depthwiseAffineGrad dx");
    expectNear(got[1], d.weightGrad(a, g), with + "depthwiseAffineGrad dw", 1e-5);
    expectNear(got[2], sums[0], with + "depthwiseAffineGrad sumG", 1e-5);
    expectNear(got[3], sums[1], with + "depthwiseAffineGrad sumGX", 1e-5);
  }

  std::vector<double> attributes = plain;
  attributes.push_back(1);
  const Array a = run(plugin, DW_OP_relu, {x}, {d.x()}, {})[0];
  expectNear(run(plugin, DW_OP_depthwiseRelu, {x, taps}, {d.y()}, attributes)[0], d.forward(a, taps),
             of + "depthwiseRelu");
  const Array masked = run(plugin, DW_OP_reluGrad, {d.inputGrad(g, taps), a}, {d.x()}, {})[0];
  const Array dx = run(plugin, DW_OP_add, {residual, masked}, {d.x()}, {})[0];
  for (const int inPlace : {-1, 3}) {
    const auto got =
        run(plugin, DW_OP_depthwiseReluGrad, {g, x, taps, residual}, {d.x(), w}, attributes, inPlace);
    expectNear(got[0], dx, of + "depthwiseReluGrad dx");
    expectNear(got[1], d.weightGrad(a, g), of + "depthwiseReluGrad dw", 1e-5);
  }
}

// The ops of one pass around an affine map, on `rows` rows of c channels.
void checkAffine(plugin::Plugin& plugin, int64_t count, int64_t c) {
  const dw_aval t = shape({count, c}), v = shape({c});
  const Array a = randomArray(t), b = randomArray(t), p = randomArray(v), q = randomArray(v),
              r = randomArray(v);
  const std::string of = std::to_string(count) + "x" + std::to_string(c) + ": ";
  const auto one = [&](uint32_t op, const std::vector<Array>& inputs, int inPlace = -1) {
    return run(plugin, op, inputs, {t}, {}, inPlace)[0];
  };
  const Array normalized = one(DW_OP_channelAffine, {a, p, r});
  const Array activated = one(DW_OP_relu, {normalized});
  const Array gradient =
      one(DW_OP_add, {one(DW_OP_channelMultiply, {a, p}), one(DW_OP_channelAffine, {b, q, r})});
  const Array masked = one(DW_OP_reluGrad, {b, activated});
  const auto sums = run(plugin, DW_OP_channelGradSums, {masked, a}, {v, v}, {});
  for (const bool inPlace : {false, true}) {
    const std::string how = of + (inPlace ? "in place, " : "");
    expectNear(one(DW_OP_channelAffine2, {a, b, p, q, r}, inPlace - 1), gradient, how + "channelAffine2");
    expectNear(one(DW_OP_affineRelu, {a, p, r}, inPlace - 1), activated, how + "affineRelu");
    expectNear(one(DW_OP_affineAdd, {a, p, r, b}, inPlace ? 3 : -1), one(DW_OP_add, {normalized, b}),
               how + "affineAdd");
    const auto got = run(plugin, DW_OP_affineReluGrad, {b, a, p, r}, {t, v, v}, {}, inPlace - 1);
    expectNear(got[0], masked, how + "affineReluGrad dx");
    expectNear(got[1], sums[0], how + "affineReluGrad sumG");
    expectNear(got[2], sums[1], how + "affineReluGrad sumGX");
  }
}

void checkPooling(plugin::Plugin& plugin, int64_t n, int64_t h, int64_t w, int64_t c, int64_t kernel,
                  int64_t stride, int64_t before) {
  const int64_t oh = (h + before + 1 - kernel) / stride + 1, ow = (w + before + 1 - kernel) / stride + 1;
  const dw_aval image = shape({n, h, w, c}), pooled = shape({n, oh, ow, c}), v = shape({c});
  const dw_aval index = shape({n, oh, ow, c}, DW_U8);
  std::vector<double> pool;
  for (int64_t i : {kernel, kernel, stride, stride, before, int64_t{1}, before, int64_t{1}})
    pool.push_back(double(i));
  std::vector<double> grad = pool;
  grad.insert(grad.end(), {double(h), double(w)});
  const Array x = randomArray(image), scale = randomArray(v), shift = randomArray(v);
  const Array residual = randomArray(pooled), g = randomArray(pooled);
  const std::string of =
      "pooling of " + std::to_string(h) + "x" + std::to_string(w) + "x" + std::to_string(c);
  const Array affine = run(plugin, DW_OP_channelAffine, {x, scale, shift}, {image}, {})[0];
  const auto plain = run(plugin, DW_OP_maxPool, {affine}, {pooled, index}, pool);
  const Array sum = run(plugin, DW_OP_add, {plain[0], residual}, {pooled}, {})[0];
  for (const int inPlace : {-1, 3}) {
    const auto got =
        run(plugin, DW_OP_affineMaxPoolAdd, {x, scale, shift, residual}, {pooled, index}, pool, inPlace);
    expectNear(got[0], sum, of + ": affineMaxPoolAdd y");
    expectNear(got[1], plain[1], of + ": affineMaxPoolAdd argmax", 0);
  }
  std::vector<double> totals(x.values.size());  // by the definition: to where the largest element was
  for (int64_t i = 0; i < elements(pooled); i++) {
    const int64_t channel = i % c, ox = i / c % ow, oy = i / c / ow % oh, at = i / c / ow / oh;
    const int64_t tap = static_cast<int64_t>(plain[1].values[static_cast<size_t>(i)]);
    const int64_t iy = oy * stride - before + tap / kernel, ix = ox * stride - before + tap % kernel;
    totals[static_cast<size_t>(((at * h + iy) * w + ix) * c + channel)] += g.values[static_cast<size_t>(i)];
  }
  const Array dx = {image, std::vector<float>(totals.begin(), totals.end())};
  const auto sums = run(plugin, DW_OP_channelGradSums, {dx, x}, {v, v}, {});
  const auto got = run(plugin, DW_OP_maxPoolGradSums, {g, plain[1], x}, {image, v, v}, grad);
  expectNear(got[0], dx, of + ": maxPoolGradSums dx");
  expectNear(got[1], sums[0], of + ": maxPoolGradSums sumG");
  expectNear(got[2], sums[1], of + ": maxPoolGradSums sumGX");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) plugin::die("usage: cpu_fused libdepthwise_cpu.so");
  for (const int threads : {1, 3}) {
    plugin::Plugin plugin(arguments[1], threads);
    std::printf("%s\n", plugin.describe().c_str());
    checkDepthwise(plugin, {2, 19, 19, 728, 1, 1, 1, 1});
    checkDepthwise(plugin, {1, 37, 5, 100, 1, 1, 1, 1});
    checkDepthwise(plugin, {1, 9, 6, 600, 0, 2, 1, 0});
    checkDepthwise(plugin, {0, 5, 5, 8, 1, 1, 1, 1});
    checkDepthwise(plugin, {50, 5, 6, 40, 1, 1, 1, 1});  // gradients: 3 images to a strip, the last with 2
    checkDepthwise(plugin, {1, 9, 147, 64, 1, 1, 1, 1});
    checkDepthwise(plugin, {8, 147, 74, 128, 1, 1, 1, 1});
    for (int i = 0; i < 40; i++) {
      const auto whole = [](int least, int most) { return static_cast<int64_t>(random(least, most + 1)); };
      Depthwise d = {whole(1, 3), whole(3, 12), whole(3, 12), whole(1, 70),
                     whole(0, 2), whole(0, 2),  whole(0, 2),  whole(0, 2)};
      checkDepthwise(plugin, d);
      checkAffine(plugin, whole(1, 700), whole(1, 150));
      checkPooling(plugin, whole(1, 3), whole(4, 20), whole(4, 20), whole(1, 150), whole(2, 3), whole(1, 3),
                   whole(0, 1));
    }
    checkAffine(plugin, 90000, 128);
    checkPooling(plugin, 2, 74, 74, 256, 3, 2, 0);
  }
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures > 0;
}
