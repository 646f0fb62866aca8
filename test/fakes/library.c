// A library that notes that it was opened: its path, as a line at the end of the file that DEPTHWISE_FAKE_LOG names.
// With VERSION (92400 is 9.24.0) and CUDART (13000 is 13.0) it is cuDNN's dispatcher; with ABORT it ends its process.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void opened(void) {
#ifdef ABORT
  abort();
#endif
  Dl_info self;
  const char* path = getenv("DEPTHWISE_FAKE_LOG");
  FILE* log = path != NULL && dladdr((void*)opened, &self) != 0 ? fopen(path, "a") : NULL;
  if (log == NULL) return;
  fprintf(log, "%s\n", self.dli_fname);
  fclose(log);
}

#ifdef VERSION
size_t cudnnGetVersion(void) { return VERSION; }
size_t cudnnGetCudartVersion(void) { return CUDART; }
// The real one names its parts too; this one knows of a part that the first versions of cuDNN 9 did not have.
const char* const parts[] = {"libcudnn_graph.so", "libcudnn_ops.so", "libcudnn_ext.so"};
#endif
