// The table of one instruction set's loops.
#include "kernels.h"
#include "product.h"

#define DW_STRING_(x) #x
#define DW_STRING(x) DW_STRING_(x)

namespace dw::cpu {
namespace DW_ISA {

extern const Kernels table;
const Kernels table = {DW_STRING(DW_ISA), kTileRows, kTileColumns,
#define DW_KERNEL_ENTRY(name, arguments) name,
                       DW_KERNELS(DW_KERNEL_ENTRY)
#undef DW_KERNEL_ENTRY
};

}  // namespace DW_ISA
}  // namespace dw::cpu
