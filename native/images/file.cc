// Files by the calls of the system, with its reasons in words.
#include "file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "unreadable.h"

namespace dw::images {

namespace {

constexpr size_t kHead = 16;

class File {
 public:
  explicit File(const char* path) : descriptor_(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ >= 0) return;
    switch (errno) {
      case ENOENT:
        throw Unreadable("no such file");
      case EACCES:
        throw Unreadable("permission denied");
      default:
        throw Unreadable(std::strerror(errno));
    }
  }
  ~File() { ::close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  uint64_t size() const {
    struct stat about;
    if (::fstat(descriptor_, &about) != 0) throw Unreadable(std::strerror(errno));
    if (S_ISDIR(about.st_mode)) throw Unreadable("is a folder, not an image");
    if (!S_ISREG(about.st_mode)) throw Unreadable("is not a file");
    return static_cast<uint64_t>(about.st_size);
  }

  void read(uint64_t offset, uint8_t* to, size_t length) const {
    while (length > 0) {
      const ssize_t count = ::pread(descriptor_, to, length, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw Unreadable(std::strerror(errno));
      if (count == 0) throw Unreadable("the file became shorter while it was read");
      to += count;
      offset += static_cast<uint64_t>(count);
      length -= static_cast<size_t>(count);
    }
  }

 private:
  int descriptor_;
};

bool startsWith(const uint8_t* data, size_t length, const char* magic, size_t bytes, size_t at = 0) {
  return length >= at + bytes && std::memcmp(data + at, magic, bytes) == 0;
}

}  // namespace

void checkJpeg(const uint8_t* data, size_t length) {
  if (length == 0) throw Unreadable("the file is empty");
  if (startsWith(data, length, "\xff\xd8\xff", 3)) return;
  const bool known = startsWith(data, length, "\x89PNG\r\n\x1a\n", 8) ||
                     (startsWith(data, length, "RIFF", 4) && startsWith(data, length, "WEBP", 4, 8)) ||
                     startsWith(data, length, "GIF8", 4) || startsWith(data, length, "II*\0", 4) ||
                     startsWith(data, length, "MM\0*", 4) || startsWith(data, length, "ftypavif", 8, 4);
  if (known) throw Unreadable("not a JPEG", DW_IMAGE_OTHER);
  throw Unreadable("not a JPEG, PNG, WebP, GIF, TIFF or AVIF image");
}

void readJpeg(const char* path, uint64_t offset, uint64_t length, std::vector<uint8_t>* bytes,
              size_t* count) {
  const File file(path);
  const uint64_t size = file.size();
  if (length == UINT64_MAX) length = size > offset ? size - offset : 0;
  if (length > kMaxFileBytes) {
    throw Unreadable(std::to_string(length) + " bytes are more than the limit of " +
                     std::to_string(kMaxFileBytes));
  }
  if (offset + length > size) {
    throw Unreadable("the file ends " + std::to_string(offset + length - size) + " bytes too early");
  }
  const size_t whole = static_cast<size_t>(length), head = whole < kHead ? whole : kHead;
  if (bytes->size() < whole) {
    // Not what is in it is wanted, so it is not copied.
    bytes->clear();
    bytes->resize(whole + whole / 4 + kHead);
  }
  file.read(offset, bytes->data(), head);
  checkJpeg(bytes->data(), head);
  file.read(offset + head, bytes->data() + head, whole - head);
  *count = whole;
}

}  // namespace dw::images
