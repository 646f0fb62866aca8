// The C interface: checks, and the pool behind it.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>

#include "changes.h"
#include "depthwise_images.h"
#include "draws.h"
#include "jpeg.h"
#include "pool.h"

struct dw_image_pool {
  explicit dw_image_pool(int workers) : pool(workers) {}
  dw::images::Pool pool;
};

namespace dw::images {

namespace {

constexpr int32_t kMaxWorkers = 1024;
constexpr int32_t kMaxEdge = 16384;

template <typename Call>
dw_status guarded(dw_error* error, Call call) {
  try {
    call();
    return DW_OK;
  } catch (const std::bad_alloc&) {
    std::snprintf(error->message, sizeof error->message, "images: out of memory");
    return DW_OUT_OF_MEMORY;
  } catch (const std::exception& cause) {
    std::snprintf(error->message, sizeof error->message, "images: %s", cause.what());
    return DW_INTERNAL;
  }
}

dw_status refuse(dw_error* error, const char* message) {
  std::snprintf(error->message, sizeof error->message, "images: %s", message);
  return DW_INVALID;
}

bool sizeIsRight(int32_t height, int32_t width) {
  return height >= 1 && width >= 1 && height <= kMaxEdge && width <= kMaxEdge;
}

dw_status open(int32_t workers, dw_image_pool** pool, dw_error* error) {
  if (workers < 1 || workers > kMaxWorkers) return refuse(error, "expected 1 to 1024 workers");
  return guarded(error, [&] { *pool = new dw_image_pool(workers); });
}

void close(dw_image_pool* pool) { delete pool; }

dw_status submit(dw_image_pool* pool, const dw_image_batch* batch, dw_error* error) {
  const dw_image_rules& rules = *batch->rules;
  if (batch->count == 0) return refuse(error, "the batch is empty");
  if (!sizeIsRight(rules.height, rules.width)) return refuse(error, "expected edges of 1 to 16384 pixels");
  if (rules.randaugment_ops < 0 || rules.randaugment_ops > 100 || rules.randaugment_magnitude < 0 ||
      rules.randaugment_magnitude > 30) {
    return refuse(error, "RandAugment expects 0 to 100 ops of magnitude 0 to 30");
  }
  return guarded(error, [&] { pool->pool.submit(*batch); });
}

void cancel(dw_image_pool* pool) { pool->pool.cancel(); }

dw_status mix(dw_image_pool* pool, const dw_image_mix* mix, void (*done)(void*), void* context,
              dw_error* error) {
  const bool box = mix->left >= 0 && mix->top >= 0 && mix->right <= mix->width && mix->bottom <= mix->height;
  if (mix->count == 0 || mix->height < 1 || mix->width < 1 || mix->fraction > 65536 || !box) {
    return refuse(error, "this mix is none");
  }
  return guarded(error, [&] { pool->pool.mix(*mix, done, context); });
}

void draw(const dw_image_rules* rules, uint32_t sample, int32_t height, int32_t width, double* numbers) {
  const Draws draws(*rules, sample);
  const Rectangle crop = draws.crop({height, width});
  ColorMap map{};
  draws.color(&map);
  const double all[] = {double(crop.left), double(crop.top), double(crop.width), double(crop.height),
                        double(draws.flip())};
  std::copy(std::begin(all), std::end(all), numbers);
  std::copy(map.matrix, map.matrix + 9, numbers + 5);
  numbers[14] = map.scale;
  numbers[15] = map.offset;
  numbers[16] = draws.block(Purpose::RandAugment).word[0];
  numbers[17] = draws.block(Purpose::Erase).word[0];
}

dw_status change(int32_t op, double magnitude, uint8_t* rgb, int32_t height, int32_t width, dw_error* error) {
  if (op < 0 || op >= kChanges || !(magnitude >= -1e6 && magnitude <= 1e6) || !sizeIsRight(height, width)) {
    return refuse(error, "this change is none");
  }
  return guarded(error, [&] { Changes().apply(static_cast<Change>(op), magnitude, rgb, {height, width}); });
}

#define DW_STRING_(x) #x
#define DW_STRING(x) DW_STRING_(x)

const char* about() {
  return "libjpeg-turbo " DW_STRING(LIBJPEG_TURBO_VERSION) ", interface " DW_STRING(JPEG_LIB_VERSION);
}

constexpr dw_images kImages = {DW_IMAGES_ABI_VERSION, about, open, close, submit, cancel, mix, draw, change};

}  // namespace

}  // namespace dw::images

extern "C" __attribute__((visibility("default"))) const dw_images* dw_images_entry(uint32_t abi_version) {
  return abi_version == DW_IMAGES_ABI_VERSION ? &dw::images::kImages : nullptr;
}
