// Mounting, always through a descriptor of a target that was resolved before.
#include "mount-flags.h"
#include "ops.h"
#include "root.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LIMIT_DATA_BYTES 4096 // mount(2) copies one page and cuts the rest silently

static int wrong_flags(struct op_context *context, const char *list) {
  errno = EINVAL;
  return fail(context, "unknown mount flag in", list);
}

/** The monitor undoes its mounts by the real path of the target, which a link on the way cannot change afterwards. */
static int register_undo(struct op_context *context, int target) {
  char link[64], path[PATH_MAX];
  if (!context->in_monitor) return 0;
  struct text name = text_on(link);
  text_add(&name, "/proc/self/fd/");
  text_add_number(&name, target);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return fail(context, "readlink", link);
  path[length] = '\0';
  return undo_push(context, path);
}

static int mount_here(struct op_context *context, const char *const *arguments, const struct mount_flags *flags, const char *target) {
  const char *type = arguments[0], *source = arguments[1], *data = arguments[4];
  if (sys_mount(*source ? source : "none", target, type, flags->legacy, *data ? data : NULL) < 0) {
    return fail(context, "mount", arguments[2]);
  }
  if (!flags->propagation) return 0;
  uint64_t depth = flags->recursive_propagation ? MS_REC : 0;
  return sys_mount(NULL, target, NULL, flags->propagation | depth, NULL) < 0 ? fail(context, "propagation of", arguments[2]) : 0;
}

/** The target is entered and mounted as ".": with mount(2) that is how a descriptor is mounted on without a procfs. */
static int mount_in_root(struct op_context *context, const char *const *arguments, const struct mount_flags *flags) {
  int target = root_make(arguments[6], arguments[2], MAKE_DIRECTORY);
  if (target < 0) return fail(context, "open", arguments[2]);
  int error = fchdir(target) < 0 ? fail(context, "enter", arguments[2]) : mount_here(context, arguments, flags, ".");
  if (!error) error = register_undo(context, target);
  close(target);
  if (chdir("/") < 0 && !error) error = errno;
  return error;
}

static int mount_on_host(struct op_context *context, const char *const *arguments, const struct mount_flags *flags) {
  const char *target = arguments[2], *directory = arguments[5];
  if (*directory && chdir(directory) < 0) return fail(context, "enter", directory);
  int error = mount_here(context, arguments, flags, target);
  if (*directory && chdir("/") < 0 && !error) error = errno;
  if (error || !context->in_monitor) return error;
  return undo_push(context, target);
}

int op_mount(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  struct mount_flags flags;
  if (!mount_flags_parse(arguments[3], &flags)) return wrong_flags(context, arguments[3]);
  if (strlen(arguments[4]) >= LIMIT_DATA_BYTES) {
    text_add(&context->detail, "the mount options are longer than a page");
    return E2BIG;
  }
  if (*arguments[6] && *arguments[5]) return text_add(&context->detail, "a root and a working directory"), EINVAL;
  return *arguments[6] ? mount_in_root(context, arguments, &flags) : mount_on_host(context, arguments, &flags);
}

/** Attaches the detached mount `tree` at `target`, and remembers it. */
static int attach(struct op_context *context, int tree, int target, const char *path) {
  if (sys_move_mount(tree, target) < 0) return fail(context, "mount on", path);
  return register_undo(context, target);
}

static int bind_at(struct op_context *context, const char *const *arguments, const struct mount_flags *flags, int target) {
  unsigned depth = flags->recursive ? AT_RECURSIVE : 0;
  int tree = sys_open_tree(AT_FDCWD, arguments[0], OPEN_TREE_CLONE | depth);
  if (tree < 0) return fail(context, "open", arguments[0]);
  int error = mount_flags_apply(tree, flags) < 0 ? fail(context, "flags", arguments[2]) : attach(context, tree, target, arguments[1]);
  close(tree);
  return error;
}

int op_bind(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  struct mount_flags flags;
  enum make make;
  if (!mount_flags_parse(arguments[2], &flags)) return wrong_flags(context, arguments[2]);
  if (strcmp(arguments[4], "dir") == 0) make = MAKE_DIRECTORY;
  else if (strcmp(arguments[4], "file") == 0) make = MAKE_FILE;
  else if (strcmp(arguments[4], "none") == 0) make = MAKE_NOTHING;
  else return errno = EINVAL, fail(context, "create", arguments[4]);
  int target = root_make(arguments[3], arguments[1], make);
  if (target < 0) return fail(context, "open", arguments[1]);
  int error = bind_at(context, arguments, &flags, target);
  close(target);
  return error;
}

int op_remount(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  struct mount_flags flags;
  if (!mount_flags_parse(arguments[1], &flags)) return wrong_flags(context, arguments[1]);
  flags.recursive_attributes |= flags.recursive;
  int target = root_open("", arguments[0], O_PATH);
  if (target < 0) return fail(context, "open", arguments[0]);
  int error = mount_flags_apply(target, &flags) < 0 ? fail(context, "flags", arguments[1]) : 0;
  close(target);
  return error;
}

int op_move(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  int source = root_open("", arguments[0], O_PATH);
  if (source < 0) return fail(context, "open", arguments[0]);
  int target = root_open("", arguments[1], O_PATH);
  int error = target < 0 ? fail(context, "open", arguments[1]) : attach(context, source, target, arguments[1]);
  close(source);
  if (target >= 0) close(target);
  return error;
}

/** The old root is stacked on the new one by pivot_root(".", "."), then let go, so that no folder for it is needed. */
static int pivot(struct op_context *context, const char *root) {
  if (chdir(root) < 0) return fail(context, "enter", root);
  if (syscall(SYS_pivot_root, ".", ".") < 0) return fail(context, "pivot_root", root);
  // Unmounting must not reach the host, whatever the propagation was.
  if (sys_mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0) return fail(context, "propagation of", "old root");
  if (sys_umount(".", UMOUNT_DETACH) < 0) return fail(context, "unmount", "old root");
  return chdir("/") < 0 ? fail(context, "enter", "/") : 0;
}

static int move_and_chroot(struct op_context *context, const char *root) {
  if (chdir(root) < 0) return fail(context, "enter", root);
  if (sys_mount(".", "/", NULL, MS_MOVE, NULL) < 0) return fail(context, "move to /", root);
  if (chroot(".") < 0) return fail(context, "chroot", root);
  return chdir("/") < 0 ? fail(context, "enter", "/") : 0;
}

int op_pivot_root(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  if (strcmp(arguments[1], "pivot") == 0) return pivot(context, arguments[0]);
  if (strcmp(arguments[1], "chroot") == 0) return move_and_chroot(context, arguments[0]);
  errno = EINVAL;
  return fail(context, "unknown method", arguments[1]);
}
