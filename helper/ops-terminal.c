// The terminal of a container: taken only from a devpts that was checked, and handed to the monitor.
#include "fd-passing.h"
#include "kernel.h"
#include "ops.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

/** Opens /dev/pts/ptmx of the container. -1 with errno: ENODEV when it is not the real one. */
static int open_ptmx(void) {
  struct statfs system;
  struct stat about;
  int folder = sys_openat2(AT_FDCWD, "/dev/pts", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_SYMLINKS);
  if (folder < 0) return -1;
  int master = -1;
  if (fstatfs(folder, &system) == 0) {
    if (system.f_type != MAGIC_DEVPTS) errno = ENODEV;
    else master = sys_openat2(folder, "ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  }
  int error = errno;
  close(folder);
  errno = error;
  if (master < 0) return -1;
  if (fstat(master, &about) == 0 && S_ISCHR(about.st_mode) && about.st_rdev == makedev(5, 2)) return master;
  close(master);
  errno = ENODEV;
  return -1;
}

int op_send_fd(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  int unlocked = 0;
  if (strcmp(arguments[0], "pty") != 0) return errno = EINVAL, fail(context, "unknown descriptor", arguments[0]);
  int master = open_ptmx();
  if (master < 0) return fail(context, "open", "/dev/pts/ptmx");
  context->terminal = master;
  if (ioctl(master, TIOCSPTLCK, &unlocked) < 0) return fail(context, "unlock", "/dev/pts/ptmx");
  if (send_with_descriptor(context->channel, "D", 1, master) < 0) return fail(context, "send", "pty");
  return 0;
}

/** The slave comes from the master, not from a path that the container could have replaced. */
static int take_terminal(struct op_context *context) {
  if (context->terminal < 0) return text_add(&context->detail, "no terminal was made by send-fd"), EBADF;
  int slave = ioctl(context->terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0) return fail(context, "open the peer of", "/dev/pts/ptmx");
  if (ioctl(slave, TIOCSCTTY, 0) < 0) return fail(context, "control", "terminal");
  for (int standard = 0; standard <= 2; standard++) {
    if (dup2(slave, standard) < 0) return fail(context, "dup2", "terminal");
  }
  close(slave);
  close_quietly(&context->terminal);
  return 0;
}

int op_session(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  bool terminal = strcmp(arguments[0], "pty") == 0;
  if (!terminal && strcmp(arguments[0], "pipes") != 0) return errno = EINVAL, fail(context, "unknown session", arguments[0]);
  if (setsid() < 0) return fail(context, "setsid", arguments[0]);
  return terminal ? take_terminal(context) : 0;
}
