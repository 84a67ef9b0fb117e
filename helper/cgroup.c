#include "cgroup.h"

#include "kernel.h"

#include <limits.h>
#include <signal.h>

static bool file_of(const char *directory, const char *name, char path[PATH_MAX]) {
  struct text text = {.at = path, .used = 0, .size = PATH_MAX, .cut = false};
  text_add(&text, directory);
  text_add(&text, "/");
  text_add(&text, name);
  return !text.cut;
}

bool cgroup_is_unified(const char *directory) {
  char path[PATH_MAX];
  return file_of(directory, "tasks", path) && access(path, F_OK) < 0 && file_of(directory, "cgroup.procs", path) && access(path, F_OK) == 0;
}

int cgroup_join(const char *directory, struct text *detail) {
  char path[PATH_MAX];
  int error = ENAMETOOLONG;
  if (cgroup_is_unified(directory)) return 0;
  if (file_of(directory, "tasks", path)) error = write_file(path, "0");
  if (error) text_add(detail, path);
  return error;
}

pid_t cgroup_fork(int group) {
  struct clone_args arguments = {.exit_signal = SIGCHLD};
  if (group < 0) return fork();
  arguments.flags = CLONE_INTO_CGROUP;
  arguments.cgroup = (uint64_t)group;
  return sys_clone3(&arguments);
}
