// Choosing by time.
#include "timing.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace dw::cuda {

namespace {

constexpr int kRuns = 5;
// Runs of short work are of so many launches that they take about this long: one launch takes as long as the
// host needs for it.
constexpr double kRunMilliseconds = 1;
constexpr double kMostRepeats = 32;
// Whether a time says that the rest of the runs would not help: by one launch, of which some microseconds may
// be the host's, and by two whole runs.
bool hopelessAtOnce(double time, double best) { return time > 2 * best + 0.05; }
// Loading code takes milliseconds, not as many as this.
bool hopelessEvenCold(double time, double best) { return time > 4 * best + 100; }
bool hopeless(double time, double best) { return time > 1.2 * best; }

}  // namespace

double timeOf(Stopwatch& stopwatch, const std::function<void()>& launch, double best) {
  const double cold = stopwatch.measure(1, launch);
  if (hopelessEvenCold(cold, best)) return cold;
  const double once = stopwatch.measure(1, launch);
  if (hopelessAtOnce(once, best)) return once;
  const double wanted = kRunMilliseconds / std::max(once, 1e-6);
  const int repeats = static_cast<int>(std::clamp(wanted, 1.0, kMostRepeats));
  std::vector<double> times;
  for (int run = 0; run < kRuns; run++) {
    times.push_back(stopwatch.measure(repeats, launch) / repeats);
    const double least = *std::min_element(times.begin(), times.end());
    if (run == 1 && hopeless(least, best)) return least;
  }
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

double Budget::left() const {
  return open_ > 0 ? left_ - std::chrono::duration<double>(Clock::now() - begun_).count() : left_;
}

Budget::Use::Use(Budget& budget) : budget_(budget) {
  if (budget_.open_++ == 0) budget_.begun_ = Clock::now();
}

Budget::Use::~Use() {
  if (--budget_.open_ == 0)
    budget_.left_ -= std::chrono::duration<double>(Clock::now() - budget_.begun_).count();
}

std::optional<std::string> Choices::recall(const std::string& question) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto known = known_.find(question);
  if (known != known_.end()) return known->second;
  const auto stored = disk_.load(keyOf(question));
  if (!stored) return std::nullopt;
  return known_[question] = stored->description.engine;
}

void Choices::keep(const std::string& question, const std::string& answer, double milliseconds,
                   int candidates) {
  const std::lock_guard<std::mutex> lock(mutex_);
  known_[question] = answer;
  StoredPlan stored;
  stored.description.library = "choice";
  stored.description.engine = answer;
  stored.description.milliseconds = milliseconds;
  stored.description.candidates = candidates;
  disk_.store(keyOf(question), stored);
}

double secondsForChoosing() {
  const char* given = std::getenv("DEPTHWISE_PLAN_SECONDS");
  return given != nullptr && *given != '\0' ? std::strtod(given, nullptr) : 300;
}

std::string folderForChoices() {
  const char* given = std::getenv("DEPTHWISE_PLAN_CACHE");
  if (given != nullptr && *given != '\0') return std::strcmp(given, "off") == 0 ? "" : given;
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return std::string(cache) + "/depthwise/plans";
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/depthwise/plans" : "";
}

}  // namespace dw::cuda
