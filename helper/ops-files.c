// Device nodes, links and directories inside a root.
#include "kernel.h"
#include "ops.h"
#include "root.h"

#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct owner {
  uid_t uid;
  gid_t gid;
};

static bool parse_owner(const char *uid, const char *gid, struct owner *owner) {
  int64_t user, group;
  if (!parse_number(uid, 0, UINT32_MAX - 1, &user) || !parse_number(gid, 0, UINT32_MAX - 1, &group)) return false;
  *owner = (struct owner){(uid_t)user, (gid_t)group};
  return true;
}

static int wrong(struct op_context *context, const char *path) {
  errno = EINVAL;
  return fail(context, "wrong arguments for", path);
}

static mode_t node_type(const char *type) {
  if (strcmp(type, "c") == 0) return S_IFCHR;
  if (strcmp(type, "b") == 0) return S_IFBLK;
  if (strcmp(type, "p") == 0) return S_IFIFO;
  return 0;
}

static int make_node(struct op_context *context, const char *path, mode_t mode, dev_t device, struct owner owner, const char *root) {
  char name[NAME_MAX + 1];
  struct stat about;
  int parent = root_parent(root, path, name, sizeof name);
  if (parent < 0) return fail(context, "open the folder of", path);
  int error = 0;
  if (mknodat(parent, name, mode, device) < 0) {
    error = fail(context, "mknod", path);
    bool same = error == EEXIST && fstatat(parent, name, &about, AT_SYMLINK_NOFOLLOW) == 0 &&
                (about.st_mode & S_IFMT) == (mode & S_IFMT) && about.st_rdev == device;
    if (same) error = 0;
  } else if (fchownat(parent, name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW) < 0) {
    error = fail(context, "chown", path);
  }
  close(parent);
  return error;
}

int op_mknod(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  uint32_t mode;
  int64_t major_number, minor_number;
  struct owner owner;
  mode_t type = node_type(arguments[1]);
  if (!type || !parse_octal(arguments[2], 07777, &mode) || !parse_number(arguments[3], 0, UINT32_MAX, &major_number) ||
      !parse_number(arguments[4], 0, UINT32_MAX, &minor_number) || !parse_owner(arguments[5], arguments[6], &owner)) {
    return wrong(context, arguments[0]);
  }
  dev_t device = type == S_IFIFO ? 0 : makedev((unsigned)major_number, (unsigned)minor_number);
  return make_node(context, arguments[0], type | mode, device, owner, arguments[7]);
}

int op_symlink(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  char name[NAME_MAX + 1];
  int parent = root_parent(arguments[2], arguments[1], name, sizeof name);
  if (parent < 0) return fail(context, "open the folder of", arguments[1]);
  int error = 0;
  if (symlinkat(arguments[0], parent, name) < 0) {
    if (errno == EEXIST) text_add(&context->detail, "was there");
    else error = fail(context, "symlink", arguments[1]);
  }
  close(parent);
  return error;
}

static int make_directory(struct op_context *context, int parent, const char *name, uint32_t mode, struct owner owner) {
  if (mkdirat(parent, name, mode) < 0) {
    if (errno != EEXIST) return fail(context, "mkdir", name);
    text_add(&context->detail, "was there");
    return 0;
  }
  int made = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (made < 0) return fail(context, "open", name);
  int error = 0;
  if (fchown(made, owner.uid, owner.gid) < 0) error = fail(context, "chown", name);
  else if (fchmod(made, mode) < 0) error = fail(context, "chmod", name);
  close(made);
  return error;
}

int op_mkdir(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  char name[NAME_MAX + 1];
  uint32_t mode;
  struct owner owner;
  if (!parse_octal(arguments[1], 07777, &mode) || !parse_owner(arguments[2], arguments[3], &owner)) {
    return wrong(context, arguments[0]);
  }
  // The path may lead through links to a directory that is there already.
  int there = root_open(arguments[4], arguments[0], O_PATH | O_DIRECTORY);
  if (there >= 0) {
    close(there);
    text_add(&context->detail, "was there");
    return 0;
  }
  int parent = root_parent(arguments[4], arguments[0], name, sizeof name);
  if (parent < 0) return fail(context, "open the folder of", arguments[0]);
  int error = make_directory(context, parent, name, mode, owner);
  close(parent);
  return error;
}
