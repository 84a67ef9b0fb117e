// The ops of src/spec/plan.ts: one function each, with the same name (docs/flows/plan.md tells what each does).
#pragma once

#include "base.h"

enum actor { ACTOR_MONITOR = 1, ACTOR_CHILD = 2, ACTOR_BOTH = 3 };

/** Ops that the runner itself carries out, since they concern both processes. */
enum special { OP_PLAIN, OP_CLONE, OP_SYNC, OP_EXEC };

/** A mount that a monitor's op made: undone in reverse order. */
struct undo {
  struct undo *before;
  char target[];
};

/** What ops share within one process. */
struct op_context {
  struct text detail;      // what went wrong or was kept, for the report
  bool in_monitor;         // else in the child
  pid_t child;             // for the monitor's ops after clone
  int init_pidfd;          // for `setns TYPE init`; -1: none
  int channel;             // the child's end towards its monitor; -1 in the monitor
  int terminal;            // PTY master between send-fd and session
  int mask_directory;      // a mounted empty tmpfs that further masks clone; -1: none yet
  int own_pid_namespace;   // where the monitor returns to after clone; -1: it never left
  struct undo *undo;
};

/** 0: done. > 0: errno, the plan fails. < 0: -errno, reported, but what could be done was done and the plan goes on. */
typedef int op_function(struct op_context *context, const char *const *arguments, unsigned count);

struct op_kind {
  const char *name;
  op_function *run;
  enum special special;
  enum actor actors;
  unsigned least, most;
};

/** The kind of that name, NULL when this helper does not know it. */
const struct op_kind *op_kind(const char *name);

/** Remembers a mount of the monitor's. 0 or ENOMEM. */
int undo_push(struct op_context *context, const char *target);
/** Unmounts everything remembered, last first; never stops at an error. */
void undo_all(struct op_context *context);

/** Adds `words "value"` to the detail and returns errno, for `return fail(context, "open", path)`. */
int fail(struct op_context *context, const char *words, const char *value);

/** CLONE_NEW* flags of comma-separated namespace names. False for a name that does not exist. */
bool namespace_flags(const char *names, uint64_t *flags);

op_function op_setns, op_unshare, op_write_map, op_join_cgroup, op_send_fd;
op_function op_mount, op_mount_program, op_bind, op_remount, op_move, op_pivot_root, op_mask, op_read_only_path;
op_function op_mknod, op_symlink, op_mkdir;
op_function op_sethostname, op_setdomainname, op_sysctl, op_rlimit, op_oom_score, op_keyring, op_umask, op_session;
op_function op_user, op_groups, op_capabilities, op_no_new_privs, op_seccomp, op_close_range, op_chdir, op_exec;
