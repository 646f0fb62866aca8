// Choosing by time with times that are given: how many runs a way gets, when choosing ends, what is
// remembered.
//
//   cuda_timing        (arguments are ignored)
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "timing.h"

namespace {

using namespace dw::cuda;

int failures = 0, checks = 0;

void expect(bool holds, const std::string& what) {
  checks++;
  if (holds) return;
  failures++;
  std::printf("FAILED: %s\n", what.c_str());
}

// Each launch takes a given time; the first one more.
class Given : public Stopwatch {
 public:
  explicit Given(double milliseconds) : milliseconds_(milliseconds) {}
  void* allocate(size_t) override { return nullptr; }
  void release(void*) override {}
  Stream stream() override { return nullptr; }
  double measure(int repeats, const std::function<void()>& launch) override {
    double time = launches == 0 ? 100 : 0;
    for (int i = 0; i < repeats; i++) {
      launch();
      time += milliseconds_;
    }
    return time;
  }
  int launches = 0;

 private:
  double milliseconds_;
};

struct Timed {
  double time;
  int launches;
};

Timed timed(double milliseconds, double best = kNoTime) {
  Given stopwatch(milliseconds);
  const double time = timeOf(
      stopwatch, [&] { stopwatch.launches++; }, best);
  return {time, stopwatch.launches};
}

bool near(double a, double b) { return std::abs(a - b) < 1e-9; }

void checkRuns() {
  expect(near(timed(2).time, 2) && timed(2).launches == 2 + 5,
         "long work: a cold launch, one more, five that count");
  expect(near(timed(0.25).time, 0.25) && timed(0.25).launches == 2 + 5 * 4,
         "short work is repeated for a millisecond");
  expect(timed(0.001).launches == 2 + 5 * 32, "but not more than 32 times");
  expect(timed(5, 2).launches == 2, "what is twice as slow is seen by one launch");
  expect(near(timed(2.6, 2).time, 2.6) && timed(2.6, 2).launches == 4,
         "what is a quarter slower by two runs");
  expect(timed(50, 2).launches == 1, "what is many times as slow is seen by the cold launch");
  expect(timed(2.2, 2).launches == 7, "what is a little slower is timed in full");
  expect(timed(0.04, 0.01).launches > 4, "the host's own time for a launch ends nothing");
}

void checkBudget() {
  Budget none(0), little(0.05), endless(kNoTime);
  expect(none.spent() && !little.spent() && !endless.spent(), "a budget is spent when nothing is left");
  expect(near(none.left(), 0) && near(little.left(), 0.05), "what is left of a new budget is all of it");
  {
    // Held against another clock, since a sleep may take any time on a busy machine.
    Budget ample(1000);
    const auto begun = std::chrono::steady_clock::now();
    const auto onlyOnce = [&] {
      const double used = 1000 - ample.left();
      const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - begun;
      return used > 0.029 && used <= passed.count() + 1e-9;
    };
    {
      const Budget::Use outer(ample), inner(ample);
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      expect(onlyOnce(), "uses within each other count once");
    }
    expect(onlyOnce(), "also when they are over");
  }
  {
    const Budget::Use use(little);
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    expect(little.spent() && little.left() < 0, "what is being used counts");
  }
  expect(little.spent(), "what was used counts");
  setenv("DEPTHWISE_PLAN_SECONDS", "2.5", 1);
  expect(near(secondsForChoosing(), 2.5), "DEPTHWISE_PLAN_SECONDS is the budget");
  unsetenv("DEPTHWISE_PLAN_SECONDS");
  expect(near(secondsForChoosing(), 300), "which is five minutes without it");
}

void checkChoices() {
  char name[] = "/tmp/depthwise-choices-XXXXXX";
  const std::string folder = mkdtemp(name);
  {
    Choices choices("device, kernels 1", folder);
    expect(!choices.recall("what?"), "a question that was not asked has no answer");
    choices.keep("what?", "in steps", 0.5, 2);
    expect(choices.recall("what?") == "in steps", "an answer is remembered");
  }
  expect(Choices("device, kernels 1", folder).recall("what?") == "in steps", "also by the next process");
  expect(!Choices("device, kernels 2", folder).recall("what?"), "but not for other kernels");
  expect(!Choices("device, kernels 1", "").recall("what?"), "nor without a folder");
  std::filesystem::remove_all(folder);
}

}  // namespace

int main() {
  checkRuns();
  checkBudget();
  checkChoices();
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 ? 0 : 1;
}
