// Recording and replaying of programs.
#include "recording.h"

#include <algorithm>

namespace dw {

dw_kernel* Recordings::find(BackendDevice& device, std::vector<void*> addresses,
                            const std::function<bool()>& launches) {
  if (refused_ || !device.records()) return nullptr;
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.addresses == addresses; });
  if (found == entries_.end()) {
    entries_.push_front({std::move(addresses), nullptr});
    if (entries_.size() > kMostKept) entries_.pop_back();
    return nullptr;
  }
  entries_.splice(entries_.begin(), entries_, found);
  Entry& entry = entries_.front();
  if (entry.recorded == nullptr && made_ < kMostMade) entry.recorded = record(device, launches);
  return entry.recorded.get();
}

std::shared_ptr<dw_kernel> Recordings::record(BackendDevice& device, const std::function<bool()>& launches) {
  if (!device.beginRecording()) {
    refused_ = true;
    return nullptr;
  }
  bool complete = false;
  try {
    complete = launches();
  } catch (...) {
    // The run that follows without recording says what is wrong, if anything is.
  }
  made_ += 1;
  dw_kernel* const recorded = device.endRecording();
  if (recorded == nullptr) {
    refused_ = true;
    return nullptr;
  }
  std::shared_ptr<dw_kernel> kept(recorded, [&device](dw_kernel* kernel) { device.destroy(kernel); });
  return complete ? kept : nullptr;
}

}  // namespace dw
