// Paths of the container that are hidden or made read-only, after the root is in place.
#include "kernel.h"
#include "ops.h"
#include "root.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

/** An image may lack a path that is to be hidden; then there is nothing to hide. */
static bool is_absent(int error) { return error == ENOENT || error == ENOTDIR; }

static int absent(struct op_context *context) {
  text_add(&context->detail, "absent");
  return 0;
}

/** /dev/null as a mount of its own. -1 when it is anything but the device 1:3: a container could have put a file there. */
static int clone_null(void) {
  struct stat about;
  int null = sys_openat2(AT_FDCWD, "/dev/null", O_PATH, 0, RESOLVE_NO_SYMLINKS);
  if (null < 0) return -1;
  int tree = -1;
  if (fstat(null, &about) == 0) {
    if (!S_ISCHR(about.st_mode) || about.st_rdev != makedev(1, 3)) errno = ENODEV;
    else tree = sys_open_tree(null, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
  }
  int error = errno;
  close(null);
  errno = error;
  return tree;
}

static int new_empty_directory(void) {
  int filesystem = sys_fsopen("tmpfs");
  if (filesystem < 0) return -1;
  int mount = -1;
  if (sys_fsconfig_create(filesystem) == 0) {
    mount = sys_fsmount(filesystem, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  }
  int error = errno;
  close(filesystem);
  errno = error;
  return mount;
}

/** One empty tmpfs serves every masked directory: the first mask mounts it, the others clone that mount. */
static int mask_directory(struct op_context *context, int target, const char *path) {
  if (context->mask_directory < 0) {
    int mount = new_empty_directory();
    if (mount < 0) return fail(context, "tmpfs for", path);
    if (sys_move_mount(mount, target) < 0) {
      int error = fail(context, "mount on", path);
      close(mount);
      return error;
    }
    context->mask_directory = mount;
    return 0;
  }
  int clone = sys_open_tree(context->mask_directory, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
  if (clone < 0) return fail(context, "clone for", path);
  int error = sys_move_mount(clone, target) < 0 ? fail(context, "mount on", path) : 0;
  close(clone);
  return error;
}

static int mask_file(struct op_context *context, int target, const char *path) {
  int null = clone_null();
  if (null < 0) return fail(context, "/dev/null for", path);
  int error = sys_move_mount(null, target) < 0 ? fail(context, "mount on", path) : 0;
  close(null);
  return error;
}

int op_mask(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  struct stat about;
  int target = root_open("", arguments[0], O_PATH);
  if (target < 0) return is_absent(errno) ? absent(context) : fail(context, "open", arguments[0]);
  int error;
  if (fstat(target, &about) < 0) error = fail(context, "stat", arguments[0]);
  else if (S_ISDIR(about.st_mode)) error = mask_directory(context, target, arguments[0]);
  else error = mask_file(context, target, arguments[0]);
  close(target);
  return error;
}

static int bind_read_only(struct op_context *context, int target, const char *path) {
  struct mount_attributes read_only = {.set = MOUNT_ATTR_RDONLY};
  int tree = sys_open_tree(target, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE);
  if (tree < 0) return fail(context, "clone", path);
  int error = 0;
  if (sys_mount_setattr(tree, AT_RECURSIVE, &read_only) < 0) error = fail(context, "read-only", path);
  else if (sys_move_mount(tree, target) < 0) error = fail(context, "mount on", path);
  close(tree);
  return error;
}

int op_read_only_path(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  int target = root_open("", arguments[0], O_PATH);
  if (target < 0) return is_absent(errno) ? absent(context) : fail(context, "open", arguments[0]);
  int error = bind_read_only(context, target, arguments[0]);
  close(target);
  return error;
}
