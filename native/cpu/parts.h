// Sums over rows by several threads, with the same result for any number of threads.
#ifndef DEPTHWISE_CPU_PARTS_H
#define DEPTHWISE_CPU_PARTS_H

#include "op.h"

namespace dw::cpu {

// Rows are divided into parts by their number alone, not by the number of threads: results do not depend on
// threads.
constexpr int64_t kRowsPerPart = 256;
constexpr int64_t kMostParts = 64;

inline int64_t partsOf(int64_t rows) {
  return std::min(kMostParts, std::max<int64_t>(1, rows / kRowsPerPart));
}

inline size_t partsWorkspace(int64_t parts, int64_t c) {
  return static_cast<size_t>(2 * parts * c) * sizeof(double);
}

// Adds up partials[part][2][c] in the order of the parts, into first[c] and second[c].
inline void addParts(int64_t parts, int64_t c, double* partials, float* first, float* second) {
  parallelFor(c, 2 * parts, [&](int64_t begin, int64_t end) {
    for (int64_t i = 1; i < parts; i++) {
      const double* from = partials + 2 * i * c;
      for (int64_t j = begin; j < end; j++) partials[j] += from[j];
      for (int64_t j = begin; j < end; j++) partials[c + j] += from[c + j];
    }
    for (int64_t j = begin; j < end; j++) first[j] = static_cast<float>(partials[j]);
    for (int64_t j = begin; j < end; j++) second[j] = static_cast<float>(partials[c + j]);
  });
}

// Two sums over `count` rows: each part, of `rows` rows from `begin` on, sums into partials[part][2][c] in
// the workspace by part(begin, rows, sums, others); these are then added up.
template <class PartFunction>
void reduceParts(int64_t parts, int64_t count, int64_t c, void* workspace, float* first, float* second,
                 const PartFunction& part) {
  double* partials = static_cast<double*>(workspace);
  parallelFor(parts, count / parts * c, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t begins = count * i / parts, ends = count * (i + 1) / parts;
      part(begins, ends - begins, partials + 2 * i * c, partials + (2 * i + 1) * c);
    }
  });
  addParts(parts, c, partials, first, second);
}

}  // namespace dw::cpu

#endif
