#include "root.h"

#include "kernel.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
#define LIMIT_LINKS 40
#define PROC_ROOT_INODE 1

static int open_root(const char *root) {
  return open(*root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/** openat2 with RESOLVE_IN_ROOT answers EAGAIN when something on the way is renamed meanwhile. */
static int open_in(int root, const char *path, uint64_t flags) {
  int fd = -1;
  for (int attempt = 0; attempt < 64; attempt++) {
    fd = sys_openat2(root, *path ? path : ".", flags, 0, IN_ROOT);
    if (fd >= 0 || errno != EAGAIN) break;
  }
  return fd;
}

static void close_keeping_errno(int fd) {
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
}

int root_open(const char *root, const char *path, uint64_t flags) {
  int root_fd = open_root(root);
  if (root_fd < 0) return -1;
  int fd = open_in(root_fd, path, flags);
  close_keeping_errno(root_fd);
  return fd;
}

/** Makes `name` in `parent`; somebody else having made it is as good. */
static int make_entry(int parent, const char *name, bool directory) {
  int done = directory ? mkdirat(parent, name, 0755) : mknodat(parent, name, S_IFREG | 0644, 0);
  return done < 0 && errno == EEXIST ? 0 : done;
}

/** What a missing step turned out to be. */
enum step { STEP_MADE, STEP_RESTART, STEP_FAILED };

/**
 * `path` is missing from the part that begins at `at` and ends before `end`. When that part is a dangling link, its text
 * takes its place in `path`, and the walk starts again; else it is made.
 */
static enum step make_step(int root, char *path, size_t at, size_t end, bool directory) {
  char name[NAME_MAX + 1], rest[PATH_MAX], link[PATH_MAX];
  if (end - at > NAME_MAX) return errno = ENAMETOOLONG, STEP_FAILED;
  memcpy(name, path + at, end - at);
  name[end - at] = '\0';
  strcpy(rest, path + end);
  path[at] = '\0';
  int parent = open_in(root, path, O_PATH | O_DIRECTORY);
  if (parent < 0) return STEP_FAILED;
  ssize_t length = readlinkat(parent, name, link, sizeof link - 1);
  enum step step = STEP_MADE;
  struct text whole = {.at = path, .used = at, .size = PATH_MAX};
  if (length >= 0) {
    link[length] = '\0';
    if (link[0] == '/') whole.used = 0;
    text_add(&whole, link);
    step = STEP_RESTART;
  } else {
    if (make_entry(parent, name, directory) < 0) step = STEP_FAILED;
    text_add(&whole, name);
  }
  text_add(&whole, rest);
  close_keeping_errno(parent);
  return whole.cut ? (errno = ENAMETOOLONG, STEP_FAILED) : step;
}

/** Tries the path part by part; every try is resolved from the root anew, so that nothing stale is trusted. */
static int make_missing(int root, char *path, enum make make) {
  int links = 0;
  for (size_t at = 0; path[at];) {
    size_t end = at + strcspn(path + at, "/");
    if (end == at) {
      at++;
      continue;
    }
    char separator = path[end];
    path[end] = '\0';
    int there = open_in(root, path, O_PATH);
    path[end] = separator;
    bool last = path[end + strspn(path + end, "/")] == '\0';
    if (there < 0) {
      if (errno != ENOENT) return -1;
      enum step step = make_step(root, path, at, end, !last || make == MAKE_DIRECTORY);
      if (step == STEP_FAILED) return -1;
      if (step == STEP_RESTART) {
        if (++links > LIMIT_LINKS) return errno = ELOOP, -1;
        at = 0;
        continue;
      }
    } else {
      close(there);
    }
    at = end;
  }
  return 0;
}

static int open_or_make(int root, const char *path, enum make make) {
  int fd = open_in(root, path, O_PATH);
  if (fd >= 0 || errno != ENOENT || make == MAKE_NOTHING) return fd;
  char copy[PATH_MAX];
  if (strlen(path) >= sizeof copy) return errno = ENAMETOOLONG, -1;
  strcpy(copy, path);
  if (make_missing(root, copy, make) < 0) return -1;
  return open_in(root, copy, O_PATH);
}

int root_make(const char *root, const char *path, enum make make) {
  int root_fd = open_root(root);
  if (root_fd < 0) return -1;
  int fd = open_or_make(root_fd, path, make);
  close_keeping_errno(root_fd);
  return fd;
}

int root_parent(const char *root, const char *path, char *name, size_t size) {
  char folder[PATH_MAX];
  size_t length = strlen(path);
  while (length > 0 && path[length - 1] == '/') length--;
  size_t start = length;
  while (start > 0 && path[start - 1] != '/') start--;
  size_t count = length - start;
  if (count >= size || start >= sizeof folder) return errno = ENAMETOOLONG, -1;
  memcpy(name, path + start, count);
  name[count] = '\0';
  memcpy(folder, path, start);
  folder[start] = '\0';
  if (count == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return errno = EINVAL, -1;
  return root_make(root, folder, MAKE_DIRECTORY);
}

int proc_open(const char *path, uint64_t flags) {
  struct statfs system;
  struct stat about;
  int proc = sys_openat2(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  if (proc < 0) return -1;
  int fd = -1;
  if (fstatfs(proc, &system) == 0 && fstat(proc, &about) == 0) {
    // An image could hold a folder of its own at /proc, or a piece of a procfs could be bound there.
    if (system.f_type != MAGIC_PROC || about.st_ino != PROC_ROOT_INODE) errno = EXDEV;
    else fd = sys_openat2(proc, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
  }
  close_keeping_errno(proc);
  return fd;
}
