// The choice among engines: the first that can be built on a described device, the fastest of a few on a real
// one.
#ifndef DEPTHWISE_CUDNN_SELECTION_H
#define DEPTHWISE_CUDNN_SELECTION_H

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../timing.h"
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
  int perCompiled = 2;  // the same for engines that are compiled, which takes seconds
  double seconds = 10;  // no further plan is begun after this time, once there is one
};

struct Selection {
  std::shared_ptr<Executable> executable;
  PlanDescription description;
};

// Makes a target; the graph of a problem.
using TargetMaker = std::function<std::shared_ptr<const Target>()>;
using GraphMaker = std::function<std::unique_ptr<Graph>(const Cudnn&)>;

// Targets of one device, one for each thread that builds plans: a handle of cuDNN's is for one thread at a
// time. They stay, since a plan runs on the handle that it was built with.
class Workshop {
 public:
  // `enter` is called on each further thread first: the device in use is a property of the thread.
  Workshop(TargetMaker make, int threads, std::function<void()> enter = nullptr)
      : make_(std::move(make)), enter_(std::move(enter)), targets_(static_cast<size_t>(threads)) {}

  size_t threads() const { return targets_.size(); }
  // Of the calling thread, which is the worker of this number; 0 is the thread that chooses.
  const std::shared_ptr<const Target>& target(size_t worker);

 private:
  TargetMaker make_;
  std::function<void()> enter_;
  std::vector<std::shared_ptr<const Target>> targets_;
};

// Chooses. With `timing` it times, within that budget; without, and for a deterministic plan, it takes the
// first that can be built. Plans of engines that are compiled are built by several threads. Tells of all
// candidates that it looked at if `candidates` is not NULL, and then builds and times as many as the limits
// allow. Throws PlanError if there is none.
Selection choose(Workshop& workshop, const GraphMaker& graphOf, const Requirements& requirements,
                 const SelectionLimits& limits, Timing* timing, std::vector<Candidate>* candidates = nullptr);

}  // namespace dw::cuda

#endif
