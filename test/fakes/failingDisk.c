// A disk that fails, for tests: loaded with LD_PRELOAD, it lets writing and syncing of files whose path holds
// FAIL_PATH end with EIO (FAIL_WITH=EIO), ENOSPC or EROFS, as long as the file FAIL_WHILE exists.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

// The error with which this file's call is to end; 0: with none.
static int failure(int file) {
  const char *path = getenv("FAIL_PATH"), *with = getenv("FAIL_WITH"), *during = getenv("FAIL_WHILE");
  if (path == NULL || with == NULL || during == NULL || access(during, F_OK) != 0) return 0;
  char link[64], target[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t length = readlink(link, target, sizeof target - 1);
  if (length < 0) return 0;
  target[length] = 0;
  if (strstr(target, path) == NULL) return 0;
  return strcmp(with, "ENOSPC") == 0 ? ENOSPC : strcmp(with, "EROFS") == 0 ? EROFS : EIO;
}

#define FAIL_OR_CALL(name, type, ...)                       \
  const int error = failure(file);                          \
  if (error != 0) {                                         \
    errno = error;                                          \
    return -1;                                              \
  }                                                         \
  return ((type)dlsym(RTLD_NEXT, name))(__VA_ARGS__)

typedef ssize_t (*Write)(int, const void *, size_t);
typedef ssize_t (*PositionedWrite)(int, const void *, size_t, off_t);
typedef ssize_t (*GatheringWrite)(int, const struct iovec *, int);
typedef int (*Sync)(int);

ssize_t write(int file, const void *bytes, size_t count) { FAIL_OR_CALL("write", Write, file, bytes, count); }
ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
  FAIL_OR_CALL("pwrite", PositionedWrite, file, bytes, count, at);
}
ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at) {
  FAIL_OR_CALL("pwrite64", PositionedWrite, file, bytes, count, at);
}
ssize_t writev(int file, const struct iovec *parts, int count) {
  FAIL_OR_CALL("writev", GatheringWrite, file, parts, count);
}
int fsync(int file) { FAIL_OR_CALL("fsync", Sync, file); }
