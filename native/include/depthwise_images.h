// The C interface of the library that makes batches of images: files or pixels in, uint8 red green blue of one size out, on
// threads of its own. Plain C, as depthwise.h: nothing throws, exits or aborts across it.
#ifndef DEPTHWISE_IMAGES_H
#define DEPTHWISE_IMAGES_H

#include "depthwise.h"

#ifdef __cplusplus
extern "C" {
#endif

// Raised whenever a struct or the meaning of a member changes.
#define DW_IMAGES_ABI_VERSION 1u

// What becomes of each image of a batch, in this order: crop and resize, flip, colour, RandAugment, erasing. Random numbers
// are functions of (key, epoch, sample), as lib/data/random.ts and augment.ts have them.
typedef struct dw_image_rules {
  int32_t height, width;  // of the result
  // Of a whole image: the centred square with this fraction of the shorter edge; 0: all of it, stretched.
  double center_crop;
  int32_t bicubic;  // 0: bilinear; both are widened when shrinking, as Pillow has them
  // Random crop and flip. area: fractions of the image's; aspect: width / height. Not at all where area[1] is 0.
  double area[2], aspect[2];
  int32_t random_color;
  int32_t randaugment_ops;  // how many ops, one after the other; 0: none
  int32_t randaugment_magnitude;  // 0 to 30
  double erasing;  // probability
  uint32_t key[2];
  uint32_t epoch;} dw_image_rules;

typedef enum dw_image_kind {
  DW_IMAGE_FILE = 0,   // `length` bytes of a file from `offset`
  DW_IMAGE_BYTES = 1,  // an encoded image in memory
  DW_IMAGE_PIXELS = 2  // uint8 [height, width, 3]
} dw_image_kind;

typedef struct dw_image_input {
  int32_t kind;
  uint32_t sample;  // enters the random numbers
  uint32_t place;   // in the batch
  int32_t height, width;  // of pixels
  const char* path;
  const uint8_t* data;
  uint64_t offset, length;  // length UINT64_MAX: to the end of the file
} dw_image_input;

typedef enum dw_image_status {
  DW_IMAGE_MADE = 0,
  DW_IMAGE_UNREADABLE = 1,  // the sample is at fault; `reason` says how
  DW_IMAGE_OTHER = 2,       // perhaps an image, but none that is decoded here; `reason` says why
  DW_IMAGE_CANCELLED = 3
} dw_image_status;

typedef struct dw_image_outcome {
  int32_t status;
  char reason[220];
} dw_image_outcome;

// Everything is the caller's and stays as it is until `done`, which is called once, on a thread of the pool.
typedef struct dw_image_batch {
  const dw_image_rules* rules;
  const dw_image_input* inputs;
  size_t count;
  uint8_t* out;  // [places, height, width, 3]
  dw_image_outcome* outcomes;  // [count]
  void (*done)(void* context);
  void* context;
} dw_image_batch;

// Mixes images of a batch with those before them, the first with the last, in place; any thread may call it for each of its
// own batches. `fraction` of 65536 is the image's own part. With a box (right > left) the other image's pixels
// replace those in it, else all pixels are blended.
typedef struct dw_image_mix {
  uint8_t* images;  // [count, height, width, 3]
  size_t count;
  int32_t height, width;
  uint32_t fraction;
  int32_t left, top, right, bottom;
} dw_image_mix;

// What a sample's random numbers are, for tests: see dw_images.draw.
#define DW_IMAGE_DRAWS 18

typedef struct dw_image_pool dw_image_pool;

typedef struct dw_images {
  uint32_t abi_version;
  const char* (*about)(void);  // the libraries behind it
  // `workers` threads, which live until `close`.
  dw_status (*open)(int32_t workers, dw_image_pool** pool, dw_error* error);
  // Waits for images in work; what is queued is cancelled.
  void (*close)(dw_image_pool* pool);
  // Queues a batch. Images are worked on in the order of the batches and of their inputs.
  dw_status (*submit)(dw_image_pool* pool, const dw_image_batch* batch, dw_error* error);
  // What is queued, and what comes later, is cancelled; images in work are finished.
  void (*cancel)(dw_image_pool* pool);
  dw_status (*mix)(dw_image_pool* pool, const dw_image_mix* mix, void (*done)(void*), void* context, dw_error* error);
  // Of a sample whose image is so large: crop (left, top, width, height), flip, colour matrix [9], scale, offset, and the
  // first word of RandAugment and of erasing.
  void (*draw)(const dw_image_rules* rules, uint32_t sample, int32_t height, int32_t width,
               double numbers[DW_IMAGE_DRAWS]);
  // One of RandAugment's ops, in torchvision's order from 0, on rgb [height, width, 3] in place; for tests.
  dw_status (*change)(int32_t op, double magnitude, uint8_t* rgb, int32_t height, int32_t width, dw_error* error);
} dw_images;

// Exported by libdepthwise_images.so. NULL if it does not speak `abi_version`.
typedef const dw_images* (*dw_images_entry_function)(uint32_t abi_version);
#define DW_IMAGES_ENTRY "dw_images_entry"

#ifdef __cplusplus
}
#endif

#endif
