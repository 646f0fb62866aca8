// Chooses among the compiled instruction sets by what the processor has.
#include <cstring>

#include "kernels.h"

namespace dw::cpu {

#if defined(__x86_64__)
namespace avx512 {
extern const Kernels table;
}
namespace avx2 {
extern const Kernels table;
}
#endif
namespace baseline {
extern const Kernels table;
}

namespace {

struct Choice {
  const Kernels* table;
  bool available;
};

}  // namespace

const Kernels* selectKernels(const char* isa, const char** reason) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  const Choice choices[] = {{&avx512::table, v4},
                            {&avx2::table, v3},
                            {&baseline::table, static_cast<bool>(__builtin_cpu_supports("sse4.2"))}};
  *reason = "this processor lacks SSE4.2";
#else
  const Choice choices[] = {{&baseline::table, true}};
#endif
  for (const Choice& choice : choices) {
    if (!isa || !*isa) {
      if (choice.available) return choice.table;
    } else if (std::strcmp(isa, choice.table->isa) == 0) {
      *reason = "this processor lacks it";
      return choice.available ? choice.table : nullptr;
    }
  }
  if (isa && *isa) *reason = "it is none of avx512, avx2 and baseline";
  return nullptr;
}

}  // namespace dw::cpu
