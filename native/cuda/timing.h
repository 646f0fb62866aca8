// Choosing by time: how long one of several ways takes, when it is hopeless, and how long choosing may take
// in all. Knows no library.
#ifndef DEPTHWISE_CUDA_TIMING_H
#define DEPTHWISE_CUDA_TIMING_H

#include <chrono>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "planCache.h"
#include "plans.h"

namespace dw::cuda {

constexpr double kNoTime = std::numeric_limits<double>::infinity();

// The median time in milliseconds of one `launch`, over a few runs of one or more launches each, after some
// that are not counted. Of what is clearly slower than `best` only so many runs are made as show it.
double timeOf(Stopwatch& stopwatch, const std::function<void()>& launch, double best = kNoTime);

// Time that may be spent on choosing, in all. One thread at a time chooses.
class Budget {
 public:
  explicit Budget(double seconds) : left_(seconds) {}
  bool spent() const { return left() <= 0; }
  double left() const;  // seconds; 0 or less when spent

  // Counts from its construction to its end. Of several, one within the other, the outermost counts.
  class Use {
   public:
    explicit Use(Budget& budget);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Budget& budget_;
  };

 private:
  using Clock = std::chrono::steady_clock;
  double left_;  // seconds, without the use that is open
  int open_ = 0;
  Clock::time_point begun_;
};

// Which of several ways was the fastest, kept in memory and on disk. `context` is all that an answer holds
// for: the device, the versions of the libraries, that of our own kernels.
class Choices {
 public:
  Choices(std::string context, const std::string& folder) : context_(std::move(context)), disk_(folder) {}

  // The name of the way, or none where the question was never answered.
  std::optional<std::string> recall(const std::string& question);
  void keep(const std::string& question, const std::string& answer, double milliseconds, int candidates);

 private:
  std::string keyOf(const std::string& question) const { return "choice " + question + " | " + context_; }

  std::string context_;
  PlanCache disk_;
  std::mutex mutex_;
  std::map<std::string, std::string> known_;
};

// All that choosing by time needs.
struct Timing {
  Timing(Stopwatch& of, double seconds, const std::string& context, const std::string& folder)
      : stopwatch(of), budget(seconds), choices(context, folder) {}

  Stopwatch& stopwatch;
  Budget budget;
  Choices choices;
};

// Seconds for choosing in all: DEPTHWISE_PLAN_SECONDS, or five minutes.
double secondsForChoosing();
// Where choices are kept: DEPTHWISE_PLAN_CACHE, a folder, or "off"; "" then. Default: depthwise/plans in the
// user's cache folder.
std::string folderForChoices();

}  // namespace dw::cuda

#endif
