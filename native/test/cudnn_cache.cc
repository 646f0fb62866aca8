// Plans three convolutions on a described device with a folder to keep plans in, and prints what was chosen:
// that of native/cuda/cudnn/planCache.h, driven by test/cudnn/cache.test.ts.
//
//   cudnn_cache folder-of-cuDNN[:folder...] description.json libdepthwise_nodriver.so folder-of-plans
//   [threads | hurried]
//
// With a number of threads it builds plans of one fused convolution, whose engines are compiled, on so many,
// and prints what became of each engine. Hurried, it plans a weight gradient in no time at all, with too little
// workspace for the first plan.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "../cuda/cudnn/cudnnPlans.h"

namespace {

using namespace dw::cuda;

ConvolutionProblem pointwise(Direction direction, DataType type) {
  ConvolutionProblem p;
  p.direction = direction;
  p.type = p.result = type;
  p.n = 8, p.h = p.w = p.oh = p.ow = 19, p.c = p.o = 728;
  return p;
}

// In the order of the heuristics, whoever built what.
void showCandidates(CudnnPlans& plans) {
  ConvolutionProblem problem = pointwise(Direction::forward, DataType::bf16);
  problem.fusion = Fusion::sums;
  SelectionLimits limits;
  limits.plans = limits.perEngine = limits.perCompiled = 3;
  limits.seconds = 1e9;
  for (const Candidate& one : plans.candidates(problem, limits))
    std::printf("%s | %s | %s | %zu bytes | %s\n", one.engine.name().c_str(),
                one.engine.compiled() ? "compiled" : "ready", one.built ? "built" : "left", one.workspace,
                one.refused.c_str());
}

ConvolutionProblem depthwiseWeights() {
  ConvolutionProblem p = pointwise(Direction::weightGrad, DataType::bf16);
  p.n = 256, p.groups = p.c, p.kernelH = p.kernelW = 3;
  p.top = p.bottom = p.left = p.right = 1;
  return p;
}

void show(Plans& plans, const ConvolutionProblem& problem) {
  const std::unique_ptr<Plan> plan = plans.plan(problem);
  const PlanDescription& d = plan->description;
  std::printf("%s | %s | %s | %d candidates | %zu bytes\n", d.library.c_str(), d.engine.c_str(),
              d.notes.c_str(), d.candidates, plan->workspaceBytes);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5 && argc != 6) {
    std::fprintf(stderr, "usage: cudnn_cache folders description.json libdepthwise_nodriver.so plans\n");
    return 2;
  }
  std::vector<std::string> folders;
  std::istringstream list(argv[1]);
  for (std::string folder; std::getline(list, folder, ':');) folders.push_back(folder);
  std::ifstream file(argv[2]);
  const std::string description{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) == nullptr) dlopen(argv[3], RTLD_NOW | RTLD_GLOBAL);

  CudnnOptions options;
  options.cacheFolder = argv[4];
  const bool hurried = argc == 6 && std::string(argv[5]) == "hurried";
  if (hurried)
    options.limits.seconds = 0, options.workspaceLimit = size_t{1} << 20;
  else if (argc == 6)
    options.threads = std::atoi(argv[5]);
  const std::shared_ptr<const Cudnn> cudnn = openCudnn(folders);
  CudnnPlans plans([&] { return std::make_shared<const Target>(cudnn, description); }, options);
  if (hurried) {
    show(plans, depthwiseWeights());
    return 0;
  }
  if (argc == 6) {
    showCandidates(plans);
    return 0;
  }
  show(plans, pointwise(Direction::forward, DataType::bf16));
  show(plans, pointwise(Direction::inputGrad, DataType::f32));
  show(plans, pointwise(Direction::weightGrad, DataType::f16));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
