// Work whose result is text, done on a thread of Node's pool: a promise for JavaScript.
#ifndef DEPTHWISE_ADDON_BACKGROUND_H
#define DEPTHWISE_ADDON_BACKGROUND_H

#include <napi.h>

#include <functional>
#include <string>

namespace dw {

// A promise of what `work` returns. It runs on another thread and may throw Failure.
Napi::Value inBackground(Napi::Env env, std::function<std::string()> work);

}  // namespace dw

#endif
