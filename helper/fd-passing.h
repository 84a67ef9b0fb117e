// SCM_RIGHTS.
#pragma once

#include "base.h"

/** Sends bytes with one descriptor, without SIGPIPE. -1 with errno. */
ssize_t send_with_descriptor(int socket, const void *bytes, size_t count, int fd);

/** Receives bytes and up to `most` descriptors, close-on-exec; `*got` of them came. Superfluous ones are closed. */
ssize_t receive_with_descriptors(int socket, void *bytes, size_t size, int *fds, unsigned most, unsigned *got);
