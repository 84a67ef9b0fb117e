#include "log.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define BATCH_BYTES 8192

/** Records on their way to the file. */
struct batch {
  struct log *log;
  char bytes[BATCH_BYTES];
  size_t used;
};

static int open_file(struct log *log) {
  struct stat about;
  log->fd = open(log->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (log->fd < 0) return errno;
  if (fstat(log->fd, &about) < 0) return errno;
  log->inode = about.st_ino;
  log->offset = (uint64_t)about.st_size;
  return 0;
}

int log_open(struct log *log, const char *path, int64_t max_size_bytes, int64_t max_files) {
  *log = (struct log){.path = path, .fd = -1, .max_size_bytes = max_size_bytes, .max_files = max_files};
  return open_file(log);
}

static void numbered(struct log *log, int64_t number, char path[PATH_MAX]) {
  struct text name = {.at = path, .size = PATH_MAX};
  text_add(&name, log->path);
  if (number == 0) return;
  text_add(&name, ".");
  text_add_number(&name, number);
}

/** <log> → <log>.1 → … ; the oldest one is overwritten. With one file only, it starts anew. */
static void rotate(struct log *log) {
  char from[PATH_MAX], to[PATH_MAX];
  close_quietly(&log->fd);
  for (int64_t number = log->max_files - 1; number >= 1; number--) {
    numbered(log, number - 1, from);
    numbered(log, number, to);
    rename(from, to);
  }
  if (log->max_files <= 1) unlink(log->path);
  open_file(log);
}

static void flush(struct batch *batch) {
  struct log *log = batch->log;
  // A full disk loses log lines; it must not stop the container.
  if (batch->used > 0 && log->fd >= 0 && write_all(log->fd, batch->bytes, batch->used) == 0) log->offset += batch->used;
  batch->used = 0;
}

static void add(struct batch *batch, const char *bytes, size_t count) {
  while (count > 0) {
    if (batch->used == sizeof batch->bytes) flush(batch);
    size_t room = sizeof batch->bytes - batch->used, part = count < room ? count : room;
    memcpy(batch->bytes + batch->used, bytes, part);
    batch->used += part;
    bytes += part;
    count -= part;
  }
}

static void add_record(struct batch *batch, const struct text *prefix, const char *words, size_t length, bool whole) {
  struct log *log = batch->log;
  uint64_t size = prefix->used + 2 + length + 1;
  if (log->fd >= 0 && log->max_size_bytes > 0 && log->offset + batch->used > 0 &&
      log->offset + batch->used + size > (uint64_t)log->max_size_bytes) {
    flush(batch);
    rotate(log);
  }
  add(batch, prefix->at, prefix->used);
  add(batch, whole ? "F " : "P ", 2);
  add(batch, words, length);
  add(batch, "\n", 1);
}

void log_write(struct log *log, const char *stream, const char *bytes, size_t count) {
  struct batch batch = {.log = log, .used = 0};
  char prefix_bytes[64];
  struct text prefix = text_on(prefix_bytes);
  if (!log->path) return;
  // A rotation may have found no room for a new file.
  if (log->fd < 0) open_file(log);
  text_add_time(&prefix);
  text_add(&prefix, " ");
  text_add(&prefix, stream);
  text_add(&prefix, " ");
  while (count > 0) {
    const char *newline = memchr(bytes, '\n', count);
    size_t length = newline ? (size_t)(newline - bytes) : count;
    add_record(&batch, &prefix, bytes, length, newline != NULL);
    size_t taken = newline ? length + 1 : length;
    bytes += taken;
    count -= taken;
  }
  flush(&batch);
}

int log_hold(const struct log *log) { return fcntl(log->fd, F_DUPFD_CLOEXEC, 0); }

void log_close(struct log *log) { close_quietly(&log->fd); }
