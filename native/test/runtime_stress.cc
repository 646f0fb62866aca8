// The runtime without JavaScript: two devices on two threads, random work, checked values. For
// ThreadSanitizer, which cannot run inside Node: scripts/build-native.sh --sanitize-threads builds and runs
// it.
//
//   runtime_stress <libdepthwise_fake.so>
#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "device.h"

namespace {

using dw::Device;

class Ignored : public dw::Completion {
 public:
  explicit Ignored(std::atomic<int>& done) : done_(done) {}
  void done(dw::SharedFailure) override {
    const std::unique_ptr<Ignored> self(this);
    done_ += 1;
  }

 private:
  std::atomic<int>& done_;
};

std::vector<double> scale(double length, double factor) {
  return {1, 2, 1, 1, 1, 0, 0, 1, length, -1, 0, 1, length, -1, 0, 1, DW_OP_scale, 1, 1, 1, 0, 1, factor};
}

std::vector<double> one(dw_op op, double attribute) {
  return {1, 2, 1, 1, 1, 0, 0, 1, 1, -1, 0, 1, 1, -1, 0, 1, double(op), 1, 1, 1, 0, 1, attribute};
}

struct Result {
  int checked = 0;
  int wrong = 0;
};

Result stress(const std::string& path, unsigned seed) {
  dw::DeviceOptions options;
  options.memoryLimit = uint64_t{48} << 20;
  std::mt19937 random(seed);
  std::atomic<int> done{0};
  Result result;
  std::vector<float> sink(1 << 20);  // outlives the device, as targets of reads must
  Device device(path, options);
  const auto handle = [](double number) { return static_cast<uint64_t>(number); };
  const uint64_t failing = handle(device.prepare(one(DW_OP_relu, 0)));
  for (int i = 0; i < 3000; i += 1) {
    const size_t length = 1 + random() % (random() % 20 == 0 ? 1 << 20 : 1000);
    const std::vector<float> data(length, static_cast<float>(i));
    std::vector<uint64_t> held;
    try {
      held.push_back(handle(device.allocate(length * 4)));
      held.push_back(handle(device.allocate(length * 4)));
      const uint64_t x = held[0], y = held[1];
      device.write(x, data.data(), length * 4);
      const uint64_t program = handle(device.prepare(scale(double(length), 2)));
      device.run(program, {x}, {y});
      device.forget(program);
      if (random() % 50 == 0) device.run(failing, {y}, {y});
      if (random() % 40 == 0) {
        const uint64_t greedy = handle(device.prepare(one(DW_OP_elu, double(random() % (30 << 20)))));
        device.run(greedy, {y}, {y});
        device.forget(greedy);
      }
      if (random() % 3 == 0) {
        float value = -1;
        device.readBlocking(y, &value, 4);
        result.checked += 1;
        if (value != 2.0f * static_cast<float>(i)) result.wrong += 1;
      } else if (random() % 2 == 0) {
        device.read(y, sink.data(), length * 4, std::make_unique<Ignored>(done));
      } else {
        device.sync(std::make_unique<Ignored>(done));
      }
      device.memory();
    } catch (const dw::Failure& failure) {
      if (failure.kind != dw::FailureKind::Device && failure.kind != dw::FailureKind::OutOfMemory) throw;
    }
    for (const uint64_t buffer : held) device.release(buffer);
  }
  return result;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: runtime_stress <libdepthwise_fake.so>\n");
    return 2;
  }
  Result results[2];
  std::thread other([&] { results[1] = stress(arguments[1], 2); });
  results[0] = stress(arguments[1], 1);
  other.join();
  const int checked = results[0].checked + results[1].checked, wrong = results[0].wrong + results[1].wrong;
  std::printf("runtime stress: %d values checked, %d wrong\n", checked, wrong);
  return wrong == 0 && checked > 1000 ? 0 : 1;
}
