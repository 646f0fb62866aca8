// Opening of NVIDIA's libraries in this process, before the backend that uses them. Knows no other function of theirs.
#ifndef DEPTHWISE_RUNTIME_LIBRARIES_H
#define DEPTHWISE_RUNTIME_LIBRARIES_H

#include <cstdint>
#include <string>
#include <vector>

namespace dw {

// Opens `paths` in this order, for everything that is opened later to find by bare name (RTLD_NOW | RTLD_GLOBAL), and
// returns what `cudnnGetVersion` of the last of them says, 92400 for 9.24.0. They stay open. Throws Load.
uint64_t openCudnn(const std::vector<std::string>& paths);

}  // namespace dw

#endif
