#include "ops.h"

#include "kernel.h"

static const struct op_kind kinds[] = {
  {"clone", NULL, OP_CLONE, ACTOR_MONITOR, 1, 1},
  {"sync", NULL, OP_SYNC, ACTOR_BOTH, 1, 1},
  {"exec", op_exec, OP_EXEC, ACTOR_CHILD, 3, 65536},
  {"setns", op_setns, OP_PLAIN, ACTOR_BOTH, 2, 2},
  {"unshare", op_unshare, OP_PLAIN, ACTOR_BOTH, 1, 1},
  {"write-map", op_write_map, OP_PLAIN, ACTOR_MONITOR, 2, 2},
  {"send-fd", op_send_fd, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"join-cgroup", op_join_cgroup, OP_PLAIN, ACTOR_BOTH, 1, 1},
  {"mount", op_mount, OP_PLAIN, ACTOR_BOTH, 7, 7},
  {"mount-program", op_mount_program, OP_PLAIN, ACTOR_MONITOR, 4, 4},
  {"bind", op_bind, OP_PLAIN, ACTOR_BOTH, 5, 5},
  {"remount", op_remount, OP_PLAIN, ACTOR_BOTH, 2, 2},
  {"move", op_move, OP_PLAIN, ACTOR_BOTH, 2, 2},
  {"mknod", op_mknod, OP_PLAIN, ACTOR_BOTH, 8, 8},
  {"symlink", op_symlink, OP_PLAIN, ACTOR_BOTH, 3, 3},
  {"mkdir", op_mkdir, OP_PLAIN, ACTOR_BOTH, 5, 5},
  {"pivot-root", op_pivot_root, OP_PLAIN, ACTOR_CHILD, 2, 2},
  {"sethostname", op_sethostname, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"setdomainname", op_setdomainname, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"sysctl", op_sysctl, OP_PLAIN, ACTOR_CHILD, 2, 2},
  {"mask", op_mask, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"read-only-path", op_read_only_path, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"rlimit", op_rlimit, OP_PLAIN, ACTOR_CHILD, 3, 3},
  {"oom-score", op_oom_score, OP_PLAIN, ACTOR_BOTH, 1, 1},
  {"keyring", op_keyring, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"umask", op_umask, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"session", op_session, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"user", op_user, OP_PLAIN, ACTOR_CHILD, 2, 2},
  {"groups", op_groups, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"capabilities", op_capabilities, OP_PLAIN, ACTOR_CHILD, 6, 6},
  {"no-new-privs", op_no_new_privs, OP_PLAIN, ACTOR_CHILD, 0, 0},
  {"seccomp", op_seccomp, OP_PLAIN, ACTOR_CHILD, 2, 2},
  {"close-range", op_close_range, OP_PLAIN, ACTOR_CHILD, 1, 1},
  {"chdir", op_chdir, OP_PLAIN, ACTOR_CHILD, 1, 1},
};

const struct op_kind *op_kind(const char *name) {
  for (size_t number = 0; number < countof(kinds); number++) {
    if (strcmp(kinds[number].name, name) == 0) return &kinds[number];
  }
  return NULL;
}

int fail(struct op_context *context, const char *words, const char *value) {
  int error = errno;
  text_add(&context->detail, words);
  text_add(&context->detail, " \"");
  text_add(&context->detail, value);
  text_add(&context->detail, "\"");
  return error;
}

int undo_push(struct op_context *context, const char *target) {
  struct undo *undo = malloc(sizeof *undo + strlen(target) + 1);
  if (!undo) return ENOMEM;
  strcpy(undo->target, target);
  undo->before = context->undo;
  context->undo = undo;
  return 0;
}

void undo_all(struct op_context *context) {
  while (context->undo) {
    struct undo *undo = context->undo;
    sys_umount(undo->target, UMOUNT_DETACH | UMOUNT_NO_FOLLOW);
    context->undo = undo->before;
    free(undo);
  }
}

static const struct {
  const char *name;
  uint64_t flag;
} namespaces[] = {
  {"mnt", CLONE_NEWNS}, {"pid", CLONE_NEWPID},   {"uts", CLONE_NEWUTS},       {"ipc", CLONE_NEWIPC},
  {"net", CLONE_NEWNET}, {"user", CLONE_NEWUSER}, {"cgroup", CLONE_NEWCGROUP},
};

static uint64_t namespace_flag(const char *name) {
  for (size_t number = 0; number < countof(namespaces); number++) {
    if (strcmp(namespaces[number].name, name) == 0) return namespaces[number].flag;
  }
  return 0;
}

bool namespace_flags(const char *names, uint64_t *flags) {
  char name[16];
  *flags = 0;
  while (next_piece(&names, ',', name, sizeof name)) {
    uint64_t flag = namespace_flag(name);
    if (!flag) return false;
    *flags |= flag;
  }
  return *names == '\0';
}
