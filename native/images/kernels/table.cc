// The table of one instruction set's loops.
#include "kernels.h"

#define DW_STRING_(x) #x
#define DW_STRING(x) DW_STRING_(x)

namespace dw::images::DW_ISA {

extern const Kernels table;
const Kernels table = {DW_STRING(DW_ISA),
#define DW_KERNEL_ENTRY(name, arguments) name,
                       DW_IMAGE_KERNELS(DW_KERNEL_ENTRY)
#undef DW_KERNEL_ENTRY
};

}  // namespace dw::images::DW_ISA
