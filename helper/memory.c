#include "memory.h"

#include "base.h"

#include <malloc.h>
#include <sys/mman.h>

void memory_tune(void) {
  mallopt(M_MMAP_THRESHOLD, 32 * 1024);
  mallopt(M_TRIM_THRESHOLD, 16 * 1024);
  mallopt(M_TOP_PAD, 4096);
}

/** What the loop needs comes back by itself from the page cache. Nothing writable lies between these symbols of the linker's. */
static void forget_code(void) {
  extern char __executable_start, __preinit_array_start;
  const uintptr_t page = (uintptr_t)getpagesize();
  const uintptr_t start = (uintptr_t)&__executable_start, end = (uintptr_t)&__preinit_array_start & ~(page - 1);
  if (start < end) madvise((void *)start, end - start, MADV_DONTNEED);
}

void memory_give_back(void) {
  malloc_trim(0);
  forget_code();
}
