// The choice among engines: the first that can be built on a described device, the fastest of a few on a real
// one.
#ifndef DEPTHWISE_CUDNN_SELECTION_H
#define DEPTHWISE_CUDNN_SELECTION_H

#include <memory>
#include <string>
#include <vector>

#include "engines.h"

namespace dw::cuda {

// Which address is which tensor of a graph: all that running a plan needs to know of it.
struct Binding {
  std::vector<int64_t> inputs, outputs;  // unique ids in the order of operands
  std::vector<Scalar> scalars;
  std::vector<size_t> inputBytes, outputBytes;

  explicit Binding(const Graph& graph);
};

// A plan and its binding: runs on a device. Keeps the last variant pack, so that running again with the same
// addresses makes none.
class Executable {
 public:
  Executable(std::shared_ptr<const Target> target, ExecutionPlan plan, Binding binding);

  void run(Stream stream, const void* const* inputs, void* const* outputs, void* workspace);
  size_t workspace() const { return plan_.workspace; }
  const ExecutionPlan& plan() const { return plan_; }

 private:
  std::shared_ptr<const Target> target_;
  ExecutionPlan plan_;
  Binding binding_;
  std::vector<void*> addresses_;  // of the last run: operands, scalars, workspace
  Descriptor pack_;
};

// What became of one engine.
struct Candidate {
  Engine engine;
  std::string refused;   // why it was not used; "" if it was or could have been
  bool built = false;    // a plan was made of it
  size_t workspace = 0;  // of the plan
  double buildSeconds = 0;
  double milliseconds = -1;  // below 0: not timed
};

struct SelectionLimits {
  int plans = 10;       // how many plans are built and timed at most
  int perEngine = 5;    // of which with one engine, by different knobs
  double seconds = 10;  // no further plan is begun after this time
  int runs = 5;         // timed runs of a plan
};

struct Selection {
  std::shared_ptr<Executable> executable;
  PlanDescription description;
};

// Chooses. On a device it times with `stopwatch`; without one, and for a deterministic plan, it takes the
// first that can be built. Tells of all candidates that it looked at if `candidates` is not NULL, and then
// times in any case. Throws PlanError if there is none.
Selection choose(const std::shared_ptr<const Target>& target, Graph& graph, const Requirements& requirements,
                 const SelectionLimits& limits, Stopwatch* stopwatch,
                 std::vector<Candidate>* candidates = nullptr);

}  // namespace dw::cuda

#endif
