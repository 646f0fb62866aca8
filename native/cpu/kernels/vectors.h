// Short vectors held in registers, for loops that carry values from row to row. Included by the kernel
// sources only.
//
// Running values in small arrays are slow here: each step would wait for the store of the step before
// (512-bit stores are forwarded late on Zen 4). So a loop takes a block of channels, and holds their values
// in registers.
#ifndef DEPTHWISE_CPU_KERNELS_VECTORS_H
#define DEPTHWISE_CPU_KERNELS_VECTORS_H

#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace dw::cpu {
namespace DW_ISA {

#if defined(__AVX512F__)
constexpr int kWidth = 16;  // f32 in a register
#elif defined(__AVX__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

// W lanes; comparisons give lanes of 0 or -1, and `mask ? a : b` chooses by lane.
template <int W>
struct Lanes;

// A store past the caches, for results that are too large to be found there again: the line need not be read
// first. `to` is aligned to the vector. And a maximum with zero that keeps NaN: one instruction, where GCC
// would compare and select.
#if defined(__SSE2__)
inline void streamVector(float* to, __m128 value) { _mm_stream_ps(to, value); }
inline __m128 reluOf(__m128 value) { return _mm_max_ps(_mm_setzero_ps(), value); }
inline void finishStreams() { _mm_sfence(); }
#if defined(__AVX__)
inline void streamVector(float* to, __m256 value) { _mm256_stream_ps(to, value); }
inline __m256 reluOf(__m256 value) { return _mm256_max_ps(_mm256_setzero_ps(), value); }
#endif
#if defined(__AVX512F__)
inline void streamVector(float* to, __m512 value) { _mm512_stream_ps(to, value); }
// Masked, since GCC 12 warns of the plain one's undefined operand.
inline __m512 reluOf(__m512 value) { return _mm512_maskz_max_ps(0xffff, _mm512_setzero_ps(), value); }
#endif
#else
template <class Float>
inline void streamVector(float* to, Float value) {
  __builtin_memcpy(to, &value, sizeof value);
}
template <class Float>
inline Float reluOf(Float value) {
  return value < 0 ? Float{} : value;
}
inline void finishStreams() {}
#endif

// A macro, because GCC does not convert vectors whose width is a template's parameter.
#define DW_LANES(W)                                                                                  \
  template <>                                                                                        \
  struct Lanes<W> {                                                                                  \
    typedef float Float __attribute__((vector_size(W * sizeof(float))));                             \
    typedef int32_t Int __attribute__((vector_size(W * sizeof(int32_t))));                           \
    typedef uint8_t Byte __attribute__((vector_size(W)));                                            \
    typedef double Double __attribute__((vector_size(W * sizeof(double))));                          \
                                                                                                     \
    static inline Float load(const float* from) {                                                    \
      Float value;                                                                                   \
      __builtin_memcpy(&value, from, sizeof value);                                                  \
      return value;                                                                                  \
    }                                                                                                \
    static inline void store(float* to, Float value) { __builtin_memcpy(to, &value, sizeof value); } \
    static inline void stream(float* to, Float value) { streamVector(to, value); }                   \
    static inline Float relu(Float value) { return reluOf(value); }                                  \
    static inline Int loadBytes(const uint8_t* from) {                                               \
      Byte value;                                                                                    \
      __builtin_memcpy(&value, from, sizeof value);                                                  \
      return __builtin_convertvector(value, Int);                                                    \
    }                                                                                                \
    static inline void storeBytes(uint8_t* to, Int value) {                                          \
      const Byte bytes = __builtin_convertvector(value, Byte);                                       \
      __builtin_memcpy(to, &bytes, sizeof bytes);                                                    \
    }                                                                                                \
    static inline void addTo(double* sums, Float value) {                                            \
      Double sum;                                                                                    \
      __builtin_memcpy(&sum, sums, sizeof sum);                                                      \
      sum += __builtin_convertvector(value, Double);                                                 \
      __builtin_memcpy(sums, &sum, sizeof sum);                                                      \
    }                                                                                                \
  };
DW_LANES(4)
#if defined(__AVX__)
DW_LANES(8)
#endif
#if defined(__AVX512F__)
DW_LANES(16)
#endif
#undef DW_LANES

// One channel by itself: what is left over at the end of a row.
template <>
struct Lanes<1> {
  typedef float Float;
  typedef int32_t Int;

  static inline Float load(const float* from) { return *from; }
  static inline void store(float* to, Float value) { *to = value; }
  static inline void stream(float* to, Float value) { *to = value; }
  static inline Float relu(Float value) { return value < 0 ? 0 : value; }
  static inline Int loadBytes(const uint8_t* from) { return *from; }
  static inline void storeBytes(uint8_t* to, Int value) { *to = static_cast<uint8_t>(value); }
  static inline void addTo(double* sums, Float value) { *sums += value; }
};

// Calls body.run<W, N>(j) for blocks of N vectors of W channels, beginning at channel j, that cover all c
// channels.
template <class Body>
inline void overChannels(int64_t c, const Body& body) {
  int64_t j = 0;
#if defined(__AVX512F__)
  for (; j + 8 * kWidth <= c; j += 8 * kWidth) body.template run<kWidth, 8>(j);
#endif
  for (; j + 4 * kWidth <= c; j += 4 * kWidth) body.template run<kWidth, 4>(j);
  if (j + 2 * kWidth <= c) {
    body.template run<kWidth, 2>(j);
    j += 2 * kWidth;
  }
  if (j + kWidth <= c) {
    body.template run<kWidth, 1>(j);
    j += kWidth;
  }
  if constexpr (kWidth > 8) {
    if (j + 8 <= c) {
      body.template run<8, 1>(j);
      j += 8;
    }
  }
  if constexpr (kWidth > 4) {
    if (j + 4 <= c) {
      body.template run<4, 1>(j);
      j += 4;
    }
  }
  for (; j < c; j++) body.template run<1, 1>(j);
}

// sum + (bytes == tap ? value : 0), by lane; tap is from 0 to 255.
#if defined(__AVX512F__)
inline __m512 addWhereByteIs(__m512 sum, const uint8_t* bytes, int tap, __m512 value) {
  const __m128i loaded = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  const __mmask16 equal = _mm_cmpeq_epi8_mask(loaded, _mm_set1_epi8(static_cast<char>(tap)));
  return _mm512_mask_add_ps(sum, equal, sum, value);
}
#endif
#if defined(__AVX2__)
inline __m256 addWhereByteIs(__m256 sum, const uint8_t* bytes, int tap, __m256 value) {
  const __m256i loaded = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
  const __m256i equal = _mm256_cmpeq_epi32(loaded, _mm256_set1_epi32(tap));
  return _mm256_add_ps(sum, _mm256_and_ps(_mm256_castsi256_ps(equal), value));
}
#endif
#if defined(__SSE4_1__)
inline __m128 addWhereByteIs(__m128 sum, const uint8_t* bytes, int tap, __m128 value) {
  int32_t four;
  __builtin_memcpy(&four, bytes, sizeof four);
  const __m128i equal = _mm_cmpeq_epi32(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(four)), _mm_set1_epi32(tap));
  return _mm_add_ps(sum, _mm_and_ps(_mm_castsi128_ps(equal), value));
}
#else
inline Lanes<4>::Float addWhereByteIs(Lanes<4>::Float sum, const uint8_t* bytes, int tap,
                                      Lanes<4>::Float value) {
  const auto equal = Lanes<4>::loadBytes(bytes) == tap;
  return sum + (equal ? value : Lanes<4>::Float{});
}
#endif
inline float addWhereByteIs(float sum, const uint8_t* byte, int tap, float value) {
  return *byte == tap ? sum + value : sum;
}

// Constants as arguments of generic functions; <type_traits> is the standard library's.
template <int kValue>
struct Count {
  static constexpr int value = kValue;
};
template <bool kValue>
struct Flag {
  static constexpr bool value = kValue;
};

// Calls body.run<W>(j) for single vectors of W channels that cover all c channels.
template <class Body>
inline void overVectors(int64_t c, const Body& body) {
  int64_t j = 0;
  for (; j + kWidth <= c; j += kWidth) body.template run<kWidth>(j);
  if constexpr (kWidth > 8) {
    if (j + 8 <= c) {
      body.template run<8>(j);
      j += 8;
    }
  }
  if constexpr (kWidth > 4) {
    if (j + 4 <= c) {
      body.template run<4>(j);
      j += 4;
    }
  }
  for (; j < c; j++) body.template run<1>(j);
}

// Calls body.run<W, N>(j) for N vectors of W channels, together a cache line, and for what is left over. For
// loops that walk along pixels: with half a line at a time they would bring every line twice.
template <class Body>
inline void overLines(int64_t c, const Body& body) {
  int64_t j = 0;
  for (; j + 16 <= c; j += 16) body.template run<kWidth, 16 / kWidth>(j);
  for (; j + 4 <= c; j += 4) body.template run<4, 1>(j);
  for (; j < c; j++) body.template run<1, 1>(j);
}

}  // namespace DW_ISA
}  // namespace dw::cpu

#endif
