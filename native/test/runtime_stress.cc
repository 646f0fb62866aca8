// The runtime without JavaScript: two devices on two threads, random work, checked values. Above all for
// ThreadSanitizer, which cannot run inside Node: scripts/build-native.sh --sanitize-threads builds and runs it
// so.
//
//   runtime_stress <libdepthwise_fake.so>
#include <atomic>
#include <chrono>
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
  return {2, 2, 1, 1, 1, 0, 0, 0, 1, length, -1, 0, 1, length, -1, 0, 1, DW_OP_scale, 1, 1, 1, 0, 1, factor};
}

std::vector<double> one(dw_op op, double attribute) {
  return {2, 2, 1, 1, 1, 0, 0, 0, 1, 1, -1, 0, 1, 1, -1, 0, 1, double(op), 1, 1, 1, 0, 1, attribute};
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

// Queues bursts with pauses about as long as the stream thread looks out for work, so that it is found polling,
// falling asleep and sleeping; more tasks at once than the queue holds; and ends with work queued.
Result bursts(const std::string& path, unsigned seed) {
  std::mt19937 random(seed);
  Result result;
  for (int round = 0; round < 20; round += 1) {
    Device device(path, {});
    const auto handle = [](double number) { return static_cast<uint64_t>(number); };
    const uint64_t x = handle(device.allocate(4)), y = handle(device.allocate(4));
    const uint64_t increment = handle(device.prepare(
        {2, 3, 2, 1, 1, 0, 0, 0, 1, 1, -1, 0, 1, 1, -1, 0, 1, 1, -1, 0, 1, 2, DW_OP_add, 2, 1, 0, 0, 1, 2}));
    const float one = 1, zero = 0;
    device.write(x, &zero, 4);
    device.write(y, &one, 4);
    float expected = 0;
    for (int burst = 0; burst < 50; burst += 1) {
      const size_t length = burst == 25 ? dw::Stream::kMaxTasks + 100 : random() % 5;
      for (size_t i = 0; i < length; i += 1) device.run(increment, {x, y}, {x});
      expected += static_cast<float>(length);
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 120);
      while (std::chrono::steady_clock::now() < until) {
      }
      if (random() % 4 == 0) device.finish();
      if (random() % 4 != 0) continue;
      float value = -1;
      device.readBlocking(x, &value, 4);
      result.checked += 1;
      if (value != expected) result.wrong += 1;
    }
    for (int i = 0; i < 100; i += 1) device.run(increment, {x, y}, {x});
  }
  return result;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: runtime_stress <libdepthwise_fake.so>\n");
    return 2;
  }
  Result results[3];
  std::thread other([&] { results[1] = stress(arguments[1], 2); });
  results[0] = stress(arguments[1], 1);
  other.join();
  results[2] = bursts(arguments[1], 3);
  int checked = 0, wrong = 0;
  for (const Result& result : results) {
    checked += result.checked;
    wrong += result.wrong;
  }
  std::printf("runtime stress: %d values checked, %d wrong\n", checked, wrong);
  return wrong == 0 && checked > 1000 ? 0 : 1;
}
