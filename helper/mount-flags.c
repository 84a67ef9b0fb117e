#include "mount-flags.h"

static const struct {
  const char *name;
  uint64_t legacy, set, clear;
} attributes[] = {
  {"ro", MS_RDONLY, MOUNT_ATTR_RDONLY, 0},
  {"rro", MS_RDONLY, MOUNT_ATTR_RDONLY, 0},
  {"rw", 0, 0, MOUNT_ATTR_RDONLY},
  {"nosuid", MS_NOSUID, MOUNT_ATTR_NOSUID, 0},
  {"suid", 0, 0, MOUNT_ATTR_NOSUID},
  {"nodev", MS_NODEV, MOUNT_ATTR_NODEV, 0},
  {"dev", 0, 0, MOUNT_ATTR_NODEV},
  {"noexec", MS_NOEXEC, MOUNT_ATTR_NOEXEC, 0},
  {"exec", 0, 0, MOUNT_ATTR_NOEXEC},
  {"relatime", MS_RELATIME, MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
  {"noatime", MS_NOATIME, MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
  {"strictatime", MS_STRICTATIME, MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
  {"nodiratime", MS_NODIRATIME, MOUNT_ATTR_NODIRATIME, 0},
  {"nosymfollow", MS_NOSYMFOLLOW, MOUNT_ATTR_NOSYMFOLLOW, 0},
  {"sync", MS_SYNCHRONOUS, 0, 0},
  {"dirsync", MS_DIRSYNC, 0, 0},
};

static const struct {
  const char *name;
  uint64_t propagation;
  bool recursive;
} propagations[] = {
  {"private", MS_PRIVATE, false},       {"rprivate", MS_PRIVATE, true},
  {"slave", MS_SLAVE, false},           {"rslave", MS_SLAVE, true},
  {"shared", MS_SHARED, false},         {"rshared", MS_SHARED, true},
  {"unbindable", MS_UNBINDABLE, false}, {"runbindable", MS_UNBINDABLE, true},
};

static bool add_attribute(const char *name, struct mount_flags *flags) {
  for (size_t number = 0; number < countof(attributes); number++) {
    if (strcmp(attributes[number].name, name) != 0) continue;
    flags->legacy |= attributes[number].legacy;
    flags->attributes.set |= attributes[number].set;
    flags->attributes.clear |= attributes[number].clear;
    flags->recursive_attributes |= strcmp(name, "rro") == 0;
    return true;
  }
  return false;
}

static bool add_propagation(const char *name, struct mount_flags *flags) {
  for (size_t number = 0; number < countof(propagations); number++) {
    if (strcmp(propagations[number].name, name) != 0) continue;
    flags->propagation = propagations[number].propagation;
    flags->recursive_propagation = propagations[number].recursive;
    return true;
  }
  return false;
}

bool mount_flags_parse(const char *list, struct mount_flags *flags) {
  char name[32];
  *flags = (struct mount_flags){0};
  while (next_piece(&list, ',', name, sizeof name)) {
    if (strcmp(name, "rec") == 0) flags->recursive = true;
    else if (!add_attribute(name, flags) && !add_propagation(name, flags)) return false;
  }
  return *list == '\0';
}

int mount_flags_apply(int fd, const struct mount_flags *flags) {
  if (flags->attributes.set | flags->attributes.clear) {
    unsigned depth = flags->recursive_attributes ? AT_RECURSIVE : 0;
    if (sys_mount_setattr(fd, depth, &flags->attributes) < 0) return -1;
  }
  if (flags->propagation) {
    struct mount_attributes attributes_of = {.propagation = flags->propagation};
    if (sys_mount_setattr(fd, flags->recursive_propagation ? AT_RECURSIVE : 0, &attributes_of) < 0) return -1;
  }
  return 0;
}
