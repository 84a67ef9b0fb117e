// Comma-separated mount flags in the three forms that the kernel wants them.
#pragma once

#include "kernel.h"

struct mount_flags {
  uint64_t legacy;                      // MS_*, for mount(2)
  struct mount_attributes attributes;   // for mount_setattr(2) without propagation
  uint64_t propagation;                 // MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE, 0: as it is
  bool recursive;                       // `rec`: submounts too
  bool recursive_attributes;            // `rro`
  bool recursive_propagation;           // `rprivate`, …
};

/** False when a flag does not exist. */
bool mount_flags_parse(const char *list, struct mount_flags *flags);
/** Sets attributes and propagation of the mount that `fd` is the root of. 0, or -1 with errno. */
int mount_flags_apply(int fd, const struct mount_flags *flags);
