// Loading of the library, and its calls.
#include "images.h"

#include <dlfcn.h>

#include "failure.h"

namespace dw {

namespace {

// A library once opened stays.
const dw_images& load(const std::string& path) {
  dlerror();
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    fail(FailureKind::Load, "cannot load %s: %s", path.c_str(), reason ? reason : "unknown reason");
  }
  const auto entry = reinterpret_cast<dw_images_entry_function>(dlsym(library, DW_IMAGES_ENTRY));
  if (entry == nullptr) {
    fail(FailureKind::Load, "%s makes no images: it has no symbol %s", path.c_str(), DW_IMAGES_ENTRY);
  }
  const dw_images* api = entry(DW_IMAGES_ABI_VERSION);
  if (api == nullptr || api->abi_version != DW_IMAGES_ABI_VERSION) {
    fail(FailureKind::Load,
         "%s speaks another version of the interface for images (expected %u): rebuild both", path.c_str(),
         DW_IMAGES_ABI_VERSION);
  }
  return *api;
}

// What a job needs until it is done.
struct Context {
  std::shared_ptr<ImageBatch> batch;
  dw_image_batch plain{};
  std::function<void()> done;
};

void finish(void* context) {
  const std::unique_ptr<Context> owned(static_cast<Context*>(context));
  owned->done();
}

}  // namespace

const char* aboutImages(const std::string& library) { return load(library).about(); }

ImagePool::ImagePool(const std::string& library, int32_t workers) : api_(load(library)) {
  dw_error error{};
  check(api_.open(workers, &pool_, &error), error, "open");
}

ImagePool::~ImagePool() { api_.close(pool_); }

void ImagePool::submit(std::shared_ptr<ImageBatch> batch, std::function<void()> done) {
  auto context = std::make_unique<Context>();
  batch->outcomes.resize(batch->inputs.size());
  dw_image_batch& plain = context->plain;
  plain.rules = &batch->rules;
  plain.inputs = batch->inputs.data();
  plain.count = batch->inputs.size();
  plain.out = batch->out;
  plain.outcomes = batch->outcomes.data();
  plain.done = finish;
  plain.context = context.get();
  context->batch = std::move(batch);
  context->done = std::move(done);
  dw_error error{};
  check(api_.submit(pool_, &plain, &error), error, "submit");
  context.release();
}

void ImagePool::mix(const dw_image_mix& mix, std::function<void()> done) {
  auto context = std::make_unique<Context>();
  context->done = std::move(done);
  dw_error error{};
  check(api_.mix(pool_, &mix, finish, context.get(), &error), error, "mix");
  context.release();
}

void ImagePool::cancel() { api_.cancel(pool_); }

std::vector<double> ImagePool::draw(const dw_image_rules& rules, uint32_t sample, int32_t height,
                                    int32_t width) const {
  std::vector<double> numbers(DW_IMAGE_DRAWS);
  api_.draw(&rules, sample, height, width, numbers.data());
  return numbers;
}

void ImagePool::change(int32_t op, double magnitude, uint8_t* rgb, int32_t height, int32_t width) const {
  dw_error error{};
  check(api_.change(op, magnitude, rgb, height, width, &error), error, "change");
}

}  // namespace dw
