// Holds pointwise convolutions and their gradients against plain loops in f64, at shapes where the products
// are cut into tiles, panels, parts and chunks of every size.
//
//   cpu_products build/Release/libdepthwise_cpu.so
#include <algorithm>
#include <cmath>

#include "plugin.h"

namespace {

using plugin::elements;
using plugin::shape;

int failures = 0, checks = 0;
uint64_t state = 88172645463325252u;

float uniform() {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return static_cast<float>(static_cast<double>(state >> 11) / 4503599627370496.0 - 1);
}

using Values = std::vector<float>;
using Doubles = std::vector<double>;

Values uniformValues(int64_t count) {
  Values values(static_cast<size_t>(count));
  for (float& value : values) value = uniform();
  return values;
}

std::vector<Values> run(plugin::Plugin& plugin, const plugin::Node& node,
                        const std::vector<const Values*>& inputs) {
  plugin::Kernel kernel(plugin, node);
  if (kernel.status != DW_OK) plugin::die(plugin.error.message);
  for (size_t i = 0; i < inputs.size(); i++)
    std::copy(inputs[i]->begin(), inputs[i]->end(), static_cast<float*>(kernel.inputs[i]));
  std::vector<Values> results;
  for (int times = 0; times < 2; times++) {  // what the first run left in the workspace must not matter
    for (size_t i = 0; i < node.outputs.size(); i++)  // NaN, so that what is not written shows
      std::memset(kernel.outputs[i], 0xff, plugin::bytes(node.outputs[i]));
    if (kernel.launch() != DW_OK) plugin::die(plugin.error.message);
  }
  for (size_t i = 0; i < node.outputs.size(); i++) {
    const float* from = static_cast<const float*>(kernel.outputs[i]);
    results.emplace_back(from, from + elements(node.outputs[i]));
  }
  return results;
}

// Relative to the sums of magnitudes, element by element: an element that is wrong by itself shows.
void expectNear(const Values& got, const Doubles& wanted, const Doubles& magnitudes,
                const std::string& what) {
  double worst = 0;
  for (size_t i = 0; i < wanted.size(); i++) {
    const double error = std::abs(static_cast<double>(got[i]) - wanted[i]) / std::max(magnitudes[i], 1e-30);
    if (!(error <= worst)) worst = error;
  }
  checks++;
  if (worst <= 2e-6) return;
  failures++;
  std::printf("FAIL %s: error %g of the sum of magnitudes\n", what.c_str(), worst);
}

struct Product {
  Doubles value, magnitude;
  explicit Product(int64_t count) : value(static_cast<size_t>(count)), magnitude(value) {}
  void add(int64_t at, double term) { add(at, term, std::abs(term)); }
  void add(int64_t at, double term, double size) {
    value[static_cast<size_t>(at)] += term;
    magnitude[static_cast<size_t>(at)] += size;
  }
};

void check(plugin::Plugin& plugin, int64_t h, int64_t w, int64_t c, int64_t o) {
  const int64_t pixels = h * w;
  const dw_aval image = shape({1, h, w, c}), filters = shape({o, 1, 1, c}), result = shape({1, h, w, o});
  const Values x = uniformValues(pixels * c), f = uniformValues(o * c), g = uniformValues(pixels * o);
  const std::vector<double> window = {1, 1, 0, 0, 0, 0, 1, 1, 1};
  std::vector<double> input = window, weight = window;
  input.insert(input.end(), {double(h), double(w)});
  weight.insert(weight.end(), {1, 1});
  const std::string of =
      std::to_string(pixels) + " pixels, " + std::to_string(c) + " to " + std::to_string(o);

  Product y(pixels * o), sum(o), squares(o), dx(pixels * c), dw(o * c);
  for (int64_t p = 0; p < pixels; p++)
    for (int64_t j = 0; j < o; j++) {
      for (int64_t i = 0; i < c; i++) {
        const size_t xi = static_cast<size_t>(p * c + i), wi = static_cast<size_t>(j * c + i);
        const double gj = g[static_cast<size_t>(p * o + j)];
        y.add(p * o + j, double(x[xi]) * f[wi]);
        dx.add(p * c + i, gj * f[wi]);
        dw.add(j * c + i, gj * x[xi]);
      }
      const size_t at = static_cast<size_t>(p * o + j);
      sum.value[static_cast<size_t>(j)] += y.value[at];
      sum.magnitude[static_cast<size_t>(j)] += y.magnitude[at];
      squares.value[static_cast<size_t>(j)] += y.value[at] * y.value[at];
      squares.magnitude[static_cast<size_t>(j)] += y.magnitude[at] * y.magnitude[at];
    }

  const auto plain = run(plugin, {DW_OP_conv2d, {image, filters}, {result}, window}, {&x, &f});
  expectNear(plain[0], y.value, y.magnitude, of + ": y");
  const auto sums =
      run(plugin, {DW_OP_conv2dSums, {image, filters}, {result, shape({o}), shape({o})}, window}, {&x, &f});
  expectNear(sums[0], y.value, y.magnitude, of + ": y with sums");
  expectNear(sums[1], sum.value, sum.magnitude, of + ": sum");
  expectNear(sums[2], squares.value, squares.magnitude, of + ": sum of squares");
  const auto inputGrad = run(plugin, {DW_OP_conv2dInputGrad, {result, filters}, {image}, input}, {&g, &f});
  expectNear(inputGrad[0], dx.value, dx.magnitude, of + ": dx");
  const auto weightGrad = run(plugin, {DW_OP_conv2dWeightGrad, {image, result}, {filters}, weight}, {&x, &g});
  expectNear(weightGrad[0], dw.value, dw.magnitude, of + ": dw");
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 2) plugin::die("usage: cpu_products libdepthwise_cpu.so");
  for (const int threads : {1, 2, 3}) {
    plugin::Plugin plugin(arguments[1], threads);
    std::printf("%s\n", plugin.describe().c_str());
    check(plugin, 1, 1, 1, 1);
    check(plugin, 3, 5, 5, 7);
    check(plugin, 19, 19, 91, 73);    // nothing a multiple of anything
    check(plugin, 10, 10, 512, 65);   // rows in the same sets of the cache, one column beyond a panel
    check(plugin, 4, 7, 60, 1024);    // few rows: divided by columns
    check(plugin, 37, 37, 300, 250);  // a weight gradient of many chunks, divided by rows
    check(plugin, 71, 70, 33, 46);    // one that is divided by pixels, and small parts
    check(plugin, 300, 233, 3, 128);  // a result too large for the caches
    check(plugin, 33, 35, 301, 260);  // and one in parts whose results are added up
    for (int i = 0; i < 60; i++) {
      const auto whole = [](int64_t most) {
        return 1 + static_cast<int64_t>((uniform() + 1) / 2 * float(most));
      };
      check(plugin, whole(40), whole(40), whole(90), whole(90));
    }
  }
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures > 0;
}
