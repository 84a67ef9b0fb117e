// Paths that a container can influence: resolved inside a root, never through a magic link, and used by descriptor.
#pragma once

#include "base.h"

/**
 * Opens `path` inside `root` ("" is /) with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). -1 with errno.
 * Symbolic links are followed, as if `root` were /.
 */
int root_open(const char *root, const char *path, uint64_t flags);

enum make { MAKE_NOTHING, MAKE_DIRECTORY, MAKE_FILE };

/** The same with O_PATH; what is missing is made first: parents as directories of mode 0755, the last part as `make` says. */
int root_make(const char *root, const char *path, enum make make);

/** The directory that holds `path` (O_PATH), and the last part of `path` in `name` (made when missing). -1 with errno. */
int root_parent(const char *root, const char *path, char *name, size_t size);

/** /proc/sys or another folder of a procfs that was verified to be one: opens `path` below it, across no mount. */
int proc_open(const char *path, uint64_t flags);
