// Products of matrices on cuBLASLt, behind the interface of plans.
#ifndef DEPTHWISE_CUBLAS_PRODUCTS_H
#define DEPTHWISE_CUBLAS_PRODUCTS_H

#include <memory>
#include <string>

#include "../plans.h"

namespace dw::cuda {

// Plans for MatrixProblem and no other, on the current device. `device` names it in the keys of plans that
// are kept in `cacheFolder` ("": in memory only). `timing` outlives the plans; NULL: the heuristic's first
// choice. Where cuBLASLt cannot be opened the reason is what every problem is refused with.
std::unique_ptr<Plans> openProducts(const std::string& device, Timing* timing,
                                    const std::string& cacheFolder);

}  // namespace dw::cuda

#endif
