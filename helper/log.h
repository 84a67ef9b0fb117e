// A container's log: one line a record, `<RFC3339Nano> stdout|stderr F|P text` (CRI), with rotation.
#pragma once

#include "base.h"

struct log {
  const char *path; // NULL: no log
  int fd;
  int64_t max_size_bytes, max_files;
  uint64_t inode, offset; // the file that was opened last, and where its next record goes
};

/** Opens (or makes, mode 0640) the log to append to. 0 or errno. `path` must outlive the log. */
int log_open(struct log *log, const char *path, int64_t max_size_bytes, int64_t max_files);
/** Writes what was read from a stream at once; a tail without newline becomes a `P` record. */
void log_write(struct log *log, const char *stream, const char *bytes, size_t count);
/** A descriptor that keeps the present file's inode number from being given to another file; -1 when there is none. */
int log_hold(const struct log *log);
void log_close(struct log *log);
