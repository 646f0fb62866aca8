// Exports of the addon that are not about devices: module.cc lists them all.
#ifndef DEPTHWISE_ADDON_EXPORTS_H
#define DEPTHWISE_ADDON_EXPORTS_H

#include "arguments.h"

namespace dw {

// aboutImages(path) -> what is behind it
Napi::Value aboutImages(const Arguments& arguments);
// openImages(path, workers) -> pool
Napi::Value openImages(const Arguments& arguments);
// closeImages(pool): waits for images in work.
Napi::Value closeImages(const Arguments& arguments);
// cancelImages(pool): what is queued is not made any more.
Napi::Value cancelImages(const Arguments& arguments);
// makeImages(pool, rules, sources, table, out) -> Promise<{ at, status, reason }[]>, of those that were not
// made. The numbers of `rules` and `table`: lib/data/pool.ts
Napi::Value makeImages(const Arguments& arguments);
// mixImages(pool, images, [count, height, width, fraction, left, top, right, bottom]) -> Promise<void>
Napi::Value mixImages(const Arguments& arguments);
// drawImages(pool, rules, [sample, height, width] of each) -> Float64Array of DW_IMAGE_DRAWS numbers of each
Napi::Value drawImages(const Arguments& arguments);
// changeImage(pool, op, magnitude in a Float64Array, rgb, [height, width])
Napi::Value changeImage(const Arguments& arguments);

}  // namespace dw

#endif
