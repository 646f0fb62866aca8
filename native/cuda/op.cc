// The table of ops.
#include "op.h"

#include "depthwise_cudnn_ops.h"

namespace dw::cuda {

// Weak: an op of the table that has no file here is nullptr, and unsupported.
#define DW_DECLARE_OP(code, name) extern const Op op_##name __attribute__((weak));
DW_OPS(DW_DECLARE_OP)
DW_CUDNN_OPS(DW_DECLARE_OP)
#undef DW_DECLARE_OP

const Op* findOp(uint32_t op) {
  switch (op) {
#define DW_FIND_OP(code, name) \
  case code:                   \
    return &op_##name;
    DW_OPS(DW_FIND_OP)
    DW_CUDNN_OPS(DW_FIND_OP)
#undef DW_FIND_OP
    default:
      return nullptr;
  }
}

}  // namespace dw::cuda
