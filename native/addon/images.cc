// Exports about images. Rules and tables come as numbers, in the order that lib/data/pool.ts gives.
#include <algorithm>

#include "exports.h"
#include "instance.h"

namespace dw {

namespace {

const std::shared_ptr<ImagePool>& poolOf(const Arguments& arguments) {
  return Instance::of(arguments.env()).imagePools().get(arguments.whole(0, "pool"));
}

// Numbers that were given as doubles, one after the other, each checked.
class Numbers {
 public:
  Numbers(const std::vector<double>& numbers, const char* name) : numbers_(numbers), name_(name) {}

  double real(double least, double most) {
    const double value = at_ < numbers_.size() ? numbers_[at_] : 0;
    if (at_ >= numbers_.size() || !(value >= least && value <= most)) refuse(value);
    at_ += 1;
    return value;
  }
  template <typename Whole>
  Whole whole(double least, double most) {
    const double value = real(least, most);
    if (value != static_cast<double>(static_cast<Whole>(value))) refuse(value);
    return static_cast<Whole>(value);
  }
  void expectEnd() {
    if (at_ != numbers_.size())
      fail(FailureKind::Argument, "%s: %zu numbers are too many", name_, numbers_.size());
  }

 private:
  [[noreturn]] void refuse(double value) const {
    fail(FailureKind::Argument, "%s: number %zu is missing or out of range (%g)", name_, at_, value);
  }

  const std::vector<double>& numbers_;
  const char* name_;
  size_t at_ = 0;
};

constexpr double kWord = 4294967295.0;
constexpr double kPixels = 2147483647.0;
constexpr double kBytes = 4503599627370496.0;

dw_image_rules rulesOf(const std::vector<double>& given) {
  Numbers numbers(given, "rules");
  dw_image_rules rules{};
  rules.height = numbers.whole<int32_t>(1, 16384);
  rules.width = numbers.whole<int32_t>(1, 16384);
  rules.center_crop = numbers.real(0, 1);
  rules.bicubic = numbers.whole<int32_t>(0, 1);
  for (double& area : rules.area) area = numbers.real(0, 1);
  for (double& aspect : rules.aspect) aspect = numbers.real(1e-3, 1e3);
  rules.random_color = numbers.whole<int32_t>(0, 1);
  rules.randaugment_ops = numbers.whole<int32_t>(0, 100);
  rules.randaugment_magnitude = numbers.whole<int32_t>(0, 30);
  rules.erasing = numbers.real(0, 1);
  for (uint32_t& word : rules.key) word = numbers.whole<uint32_t>(0, kWord);
  rules.epoch = numbers.whole<uint32_t>(0, kWord);
  numbers.expectEnd();
  return rules;
}

// An input whose source is `data` or `path`, as the kind says.
dw_image_input inputOf(Numbers& numbers, const std::string* path, const ByteView* data, size_t places) {
  dw_image_input input{};
  input.kind = numbers.whole<int32_t>(0, 2);
  input.place = numbers.whole<uint32_t>(0, kWord);
  input.sample = numbers.whole<uint32_t>(0, kWord);
  const double offset = numbers.whole<int64_t>(0, kBytes);
  const double length = numbers.whole<int64_t>(-1, kBytes);
  input.height = numbers.whole<int32_t>(0, kPixels);
  input.width = numbers.whole<int32_t>(0, kPixels);
  input.offset = static_cast<uint64_t>(offset);
  input.length = length < 0 ? UINT64_MAX : static_cast<uint64_t>(length);
  if (input.place >= places) {
    fail(FailureKind::Argument, "table: place %u is beyond the end of out", input.place);
  }
  if ((input.kind == DW_IMAGE_FILE) != (path != nullptr)) {
    fail(FailureKind::Argument, "table: a source is not of its kind");
  }
  if (path != nullptr) {
    input.path = path->c_str();
    return input;
  }
  input.data = static_cast<const uint8_t*>(data->data);
  input.length = data->length;
  const double pixels = 3.0 * input.height * input.width;
  if (input.kind == DW_IMAGE_PIXELS && (pixels < 3 || pixels != static_cast<double>(data->length))) {
    fail(FailureKind::Argument, "table: %zu bytes are not %d x %d pixels", data->length, input.height,
         input.width);
  }
  return input;
}

// Settles a promise where the pool is done.
std::function<void()> settling(std::unique_ptr<Completion> completion) {
  const std::shared_ptr<Completion*> owner(new Completion*(completion.release()), [](Completion** held) {
    delete *held;
    delete held;
  });
  return [owner] {
    Completion* completion = *owner;
    *owner = nullptr;
    completion->done(nullptr);
  };
}

napi_value failuresOf(napi_env raw, const ImageBatch& batch) {
  const Napi::Env env(raw);
  Napi::Array failures = Napi::Array::New(env);
  uint32_t count = 0;
  for (size_t at = 0; at < batch.outcomes.size(); at++) {
    const dw_image_outcome& outcome = batch.outcomes[at];
    if (outcome.status == DW_IMAGE_MADE) continue;
    Napi::Object failure = Napi::Object::New(env);
    failure.Set("at", Napi::Number::New(env, static_cast<double>(at)));
    failure.Set("status", Napi::Number::New(env, outcome.status));
    failure.Set("reason", Napi::String::New(env, outcome.reason));
    failures.Set(count++, failure);
  }
  return failures;
}

uint8_t* writable(const ByteView& view) { return static_cast<uint8_t*>(const_cast<void*>(view.data)); }

}  // namespace

Napi::Value aboutImages(const Arguments& arguments) {
  return Napi::String::New(arguments.env(), aboutImages(arguments.string(0, "path")));
}

Napi::Value openImages(const Arguments& arguments) {
  const std::string path = arguments.string(0, "path");
  const uint64_t workers = arguments.whole(1, "workers");
  auto pool = std::make_shared<ImagePool>(path, static_cast<int32_t>(std::min<uint64_t>(workers, 1 << 20)));
  return Napi::Number::New(arguments.env(), Instance::of(arguments.env()).imagePools().add(std::move(pool)));
}

Napi::Value closeImages(const Arguments& arguments) {
  poolOf(arguments);
  Instance::of(arguments.env()).imagePools().remove(arguments.whole(0, "pool"));
  return arguments.env().Undefined();
}

Napi::Value cancelImages(const Arguments& arguments) {
  poolOf(arguments)->cancel();
  return arguments.env().Undefined();
}

Napi::Value makeImages(const Arguments& arguments) {
  const Napi::Env env = arguments.env();
  const std::shared_ptr<ImagePool>& pool = poolOf(arguments);
  auto batch = std::make_shared<ImageBatch>();
  batch->rules = rulesOf(arguments.float64s(1, "rules"));
  const std::vector<double> table = arguments.float64s(3, "table");
  const ByteView out = arguments.bytes(4, "out");
  batch->out = writable(out);
  const size_t places =
      out.length / (static_cast<size_t>(batch->rules.height) * static_cast<size_t>(batch->rules.width) * 3);
  const std::vector<Source> sources = arguments.sources(2, "sources");
  batch->paths.reserve(sources.size());  // so that their letters stay where they are
  Numbers numbers(table, "table");
  for (const Source& source : sources) {
    const std::string* path = nullptr;
    if (source.isPath) path = &batch->paths.emplace_back(source.path);
    batch->inputs.push_back(inputOf(numbers, path, &source.bytes, places));
  }
  numbers.expectEnd();
  if (batch->inputs.empty()) fail(FailureKind::Argument, "makeImages: sources is empty");
  // Whatever is read and written stays reachable.
  Napi::Object kept = Napi::Object::New(env);
  kept.Set("sources", arguments.value(2));
  kept.Set("out", arguments.value(4));
  Napi::Value promise;
  auto completion = Instance::of(env).promise(
      env, kept, [batch](napi_env raw) { return failuresOf(raw, *batch); }, &promise);
  pool->submit(batch, settling(std::move(completion)));
  return promise;
}

Napi::Value mixImages(const Arguments& arguments) {
  const Napi::Env env = arguments.env();
  const std::shared_ptr<ImagePool>& pool = poolOf(arguments);
  const ByteView images = arguments.bytes(1, "images");
  const std::vector<double> given = arguments.float64s(2, "mix");
  Numbers numbers(given, "mix");
  dw_image_mix mix{};
  mix.images = writable(images);
  mix.count = numbers.whole<uint32_t>(1, 1e6);
  mix.height = numbers.whole<int32_t>(1, 16384);
  mix.width = numbers.whole<int32_t>(1, 16384);
  mix.fraction = numbers.whole<uint32_t>(0, 65536);
  mix.left = numbers.whole<int32_t>(0, mix.width);
  mix.top = numbers.whole<int32_t>(0, mix.height);
  mix.right = numbers.whole<int32_t>(0, mix.width);
  mix.bottom = numbers.whole<int32_t>(0, mix.height);
  numbers.expectEnd();
  if (mix.count * static_cast<size_t>(mix.height) * static_cast<size_t>(mix.width) * 3 != images.length) {
    fail(FailureKind::Argument, "mix: %zu bytes are not %zu images of %d x %d", images.length, mix.count,
         mix.height, mix.width);
  }
  Napi::Value promise;
  auto completion = Instance::of(env).promise(
      env, arguments.value(1).As<Napi::Object>(),
      [](napi_env raw) -> napi_value { return Napi::Env(raw).Undefined(); }, &promise);
  pool->mix(mix, settling(std::move(completion)));
  return promise;
}

Napi::Value drawImages(const Arguments& arguments) {
  const std::shared_ptr<ImagePool>& pool = poolOf(arguments);
  const dw_image_rules rules = rulesOf(arguments.float64s(1, "rules"));
  const std::vector<double> given = arguments.float64s(2, "samples");
  Numbers numbers(given, "samples");
  std::vector<double> all;
  for (size_t i = 0; i < given.size(); i += 3) {
    const auto sample = numbers.whole<uint32_t>(0, kWord);
    const auto height = numbers.whole<int32_t>(1, kPixels);
    const auto width = numbers.whole<int32_t>(1, kPixels);
    const std::vector<double> drawn = pool->draw(rules, sample, height, width);
    all.insert(all.end(), drawn.begin(), drawn.end());
  }
  Napi::Float64Array result = Napi::Float64Array::New(arguments.env(), all.size());
  std::copy(all.begin(), all.end(), result.Data());
  return result;
}

Napi::Value changeImage(const Arguments& arguments) {
  const std::shared_ptr<ImagePool>& pool = poolOf(arguments);
  const uint64_t op = arguments.whole(1, "op");
  const std::vector<double> magnitudes = arguments.float64s(2, "magnitude");
  const ByteView rgb = arguments.bytes(3, "rgb");
  const std::vector<double> size = arguments.float64s(4, "size");
  Numbers magnitude(magnitudes, "magnitude"), edges(size, "size");
  const double strength = magnitude.real(-1e6, 1e6);
  const auto height = edges.whole<int32_t>(1, 16384), width = edges.whole<int32_t>(1, 16384);
  if (static_cast<size_t>(height) * static_cast<size_t>(width) * 3 != rgb.length) {
    fail(FailureKind::Argument, "changeImage: %zu bytes are not %d x %d pixels", rgb.length, height, width);
  }
  pool->change(static_cast<int32_t>(std::min<uint64_t>(op, 1000)), strength, writable(rgb), height, width);
  return arguments.env().Undefined();
}

}  // namespace dw
