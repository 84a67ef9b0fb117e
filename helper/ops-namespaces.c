// Namespaces, their maps, and control groups.
#include "cgroup.h"
#include "kernel.h"
#include "ops.h"
#include "root.h"

#include <limits.h>
#include <sys/prctl.h>
#include <signal.h>

/** Entering a user namespace changes credentials, which clears the parent-death signal. */
static void renew_death_signal(const struct op_context *context) {
  if (!context->in_monitor) prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static int enter(struct op_context *context, int fd, uint64_t flag, const char *target) {
  if (syscall(SYS_setns, fd, flag) < 0) return fail(context, "setns", target);
  renew_death_signal(context);
  return 0;
}

/** A monitor that joins a pid namespace does so for its next child only: it must be able to come back. */
static int remember_own_pid_namespace(struct op_context *context) {
  if (context->own_pid_namespace >= 0) return 0;
  context->own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
  return context->own_pid_namespace < 0 ? fail(context, "open", "/proc/self/ns/pid") : 0;
}

int op_setns(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  uint64_t flag;
  if (!namespace_flags(arguments[0], &flag) || flag == 0 || (flag & (flag - 1)) != 0) {
    errno = EINVAL;
    return fail(context, "not one namespace:", arguments[0]);
  }
  bool init = strcmp(arguments[1], "init") == 0;
  if (context->in_monitor && context->init_pidfd < 0 && flag == CLONE_NEWPID) {
    int error = remember_own_pid_namespace(context);
    if (error) return error;
  }
  if (init) {
    if (context->init_pidfd < 0) return text_add(&context->detail, "there is no init to join"), ESRCH;
    return enter(context, context->init_pidfd, flag, "init");
  }
  int fd = open(arguments[1], O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(context, "open", arguments[1]);
  int error = enter(context, fd, flag, arguments[1]);
  close(fd);
  return error;
}

int op_unshare(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  uint64_t flags;
  errno = EINVAL;
  if (!namespace_flags(arguments[0], &flags)) return fail(context, "unknown namespace in", arguments[0]);
  if (syscall(SYS_unshare, flags) < 0) return fail(context, "unshare", arguments[0]);
  renew_death_signal(context);
  return 0;
}

/** Writes one of /proc/PID's files of the child that clone made. */
static int write_of_child(struct op_context *context, const char *file, const char *words) {
  char path[64];
  struct text name = text_on(path);
  if (context->child <= 0) return text_add(&context->detail, "there is no child yet"), ESRCH;
  text_add(&name, "/proc/");
  text_add_number(&name, context->child);
  text_add(&name, "/");
  text_add(&name, file);
  errno = write_file(path, words);
  return errno ? fail(context, "write", path) : 0;
}

int op_write_map(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  bool uid = strcmp(arguments[0], "uid") == 0;
  if (!uid && strcmp(arguments[0], "gid") != 0) return errno = EINVAL, fail(context, "unknown map", arguments[0]);
  return write_of_child(context, uid ? "uid_map" : "gid_map", arguments[1]);
}

/** Of a v2 group the process was, or will be, born in it: see `open_birth_group` of run.c. */
int op_join_cgroup(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  char path[PATH_MAX];
  struct text name = text_on(path);
  errno = cgroup_join(arguments[0], &name);
  return errno ? fail(context, "write", path) : 0;
}

/** The container's own /proc by now, so it is verified first. */
static int write_own_score(struct op_context *context, const char *score) {
  int fd = proc_open("self/oom_score_adj", O_WRONLY);
  if (fd < 0) return fail(context, "open", "/proc/self/oom_score_adj");
  int error = write(fd, score, strlen(score)) < 0 ? fail(context, "write", "/proc/self/oom_score_adj") : 0;
  close(fd);
  return error;
}

/** Lowering it needs CAP_SYS_RESOURCE, which a host may not have: then the score stays, and the report says so. */
int op_oom_score(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  int error = context->in_monitor ? write_of_child(context, "oom_score_adj", arguments[0]) : write_own_score(context, arguments[0]);
  return error == EACCES || error == EPERM ? -error : error;
}
