// The tail of every plan: who the process is, what it may do, and what it becomes.
#include "kernel.h"
#include "ops.h"

#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LIMIT_GROUPS 65536
#define LIMIT_FILTER 4096 // BPF_MAXINSNS
#define LAST_CAPABILITY 63

/** The three sets of a process as 64-bit masks; the kernel wants them in two halves. */
struct capability_sets {
  uint64_t effective, permitted, inheritable;
};

static int get_capabilities(struct capability_sets *sets) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct half[2];
  if (syscall(SYS_capget, &header, half) < 0) return -1;
  sets->effective = (uint64_t)half[1].effective << 32 | half[0].effective;
  sets->permitted = (uint64_t)half[1].permitted << 32 | half[0].permitted;
  sets->inheritable = (uint64_t)half[1].inheritable << 32 | half[0].inheritable;
  return 0;
}

static int set_capabilities(const struct capability_sets *sets) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct half[2] = {
    {(uint32_t)sets->effective, (uint32_t)sets->permitted, (uint32_t)sets->inheritable},
    {(uint32_t)(sets->effective >> 32), (uint32_t)(sets->permitted >> 32), (uint32_t)(sets->inheritable >> 32)},
  };
  return (int)syscall(SYS_capset, &header, half);
}

/** A pipe or terminal belongs to who made it; the user must be able to open it again as /dev/stdout. */
static void give_standard_descriptors(uid_t uid) {
  struct stat about;
  for (int fd = 0; fd <= 2; fd++) {
    if (fstat(fd, &about) < 0 || about.st_uid == uid) continue;
    if (S_ISFIFO(about.st_mode) || (S_ISCHR(about.st_mode) && isatty(fd))) (void)!fchown(fd, uid, (gid_t)-1);
  }
}

/** setuid clears the effective set even when the permitted one is kept, and seccomp without no-new-privs needs it. */
static int raise_kept_capabilities(void) {
  struct capability_sets sets;
  if (prctl(PR_GET_KEEPCAPS) != 1) return 0;
  if (get_capabilities(&sets) < 0) return -1;
  sets.effective = sets.permitted;
  return set_capabilities(&sets);
}

int op_user(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  int64_t uid, gid;
  if (!parse_number(arguments[0], 0, UINT32_MAX - 1, &uid) || !parse_number(arguments[1], 0, UINT32_MAX - 1, &gid)) {
    errno = EINVAL;
    return fail(context, "no user:", arguments[0]);
  }
  give_standard_descriptors((uid_t)uid);
  if (syscall(SYS_setresgid, (gid_t)gid, (gid_t)gid, (gid_t)gid) < 0) return fail(context, "setresgid", arguments[1]);
  if (syscall(SYS_setresuid, (uid_t)uid, (uid_t)uid, (uid_t)uid) < 0) return fail(context, "setresuid", arguments[0]);
  if (raise_kept_capabilities() < 0) return fail(context, "capset for", arguments[0]);
  // A change of user clears it.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) return fail(context, "prctl for", arguments[0]);
  return 0;
}

int op_groups(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  const char *list = arguments[0];
  char piece[16];
  int64_t gid;
  size_t used = 0;
  gid_t *groups = malloc((strlen(list) / 2 + 1) * sizeof *groups);
  if (!groups) return ENOMEM;
  int error = 0;
  while (next_piece(&list, ',', piece, sizeof piece)) {
    if (!parse_number(piece, 0, UINT32_MAX - 1, &gid)) break;
    groups[used++] = (gid_t)gid;
  }
  errno = EINVAL;
  if (*list != '\0' || used > LIMIT_GROUPS) error = fail(context, "no groups:", arguments[0]);
  else if (syscall(SYS_setgroups, used, groups) < 0) error = fail(context, "setgroups", arguments[0]);
  free(groups);
  return error;
}

static int keep_capabilities(struct op_context *context, uint64_t bounding) {
  if (prctl(PR_SET_KEEPCAPS, 1) < 0) return fail(context, "prctl", "PR_SET_KEEPCAPS");
  for (int capability = 0; capability <= LAST_CAPABILITY; capability++) {
    int has = prctl(PR_CAPBSET_READ, capability);
    if (has < 0) break;
    if (has == 0 || bounding >> capability & 1) continue;
    if (prctl(PR_CAPBSET_DROP, capability) < 0) return fail(context, "prctl", "PR_CAPBSET_DROP");
  }
  return 0;
}

static int set_ambient(uint64_t ambient) {
  // A kernel older than 4.3 has no ambient set, and then there is nothing to clear.
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return ambient ? -1 : 0;
  for (int capability = 0; capability <= LAST_CAPABILITY; capability++) {
    if (!(ambient >> capability & 1)) continue;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) < 0) return -1;
  }
  return 0;
}

/** What this host does not have cannot be given: it is left out, and the report says so. */
static int final_capabilities(struct op_context *context, struct capability_sets wanted, uint64_t ambient) {
  struct capability_sets now;
  if (get_capabilities(&now) < 0) return fail(context, "capget", "final");
  uint64_t missing = wanted.permitted & ~now.permitted;
  wanted.permitted &= now.permitted;
  wanted.effective &= wanted.permitted;
  wanted.inheritable &= now.permitted | now.inheritable;
  ambient &= wanted.permitted & wanted.inheritable;
  if (set_capabilities(&wanted) < 0) return fail(context, "capset", "final");
  if (set_ambient(ambient) < 0) return fail(context, "prctl", "PR_CAP_AMBIENT");
  prctl(PR_SET_KEEPCAPS, 0);
  if (!missing) return 0;
  text_add(&context->detail, "this host lacks capabilities:");
  for (int capability = 0; capability <= LAST_CAPABILITY; capability++) {
    if (!(missing >> capability & 1)) continue;
    text_add(&context->detail, " ");
    text_add_number(&context->detail, capability);
  }
  return -EPERM;
}

int op_capabilities(struct op_context *context, const char *const *arguments, unsigned count) {
  uint64_t masks[5];
  for (unsigned number = 1; number < count; number++) {
    if (!parse_hex(arguments[number], &masks[number - 1])) return errno = EINVAL, fail(context, "no mask:", arguments[number]);
  }
  if (strcmp(arguments[0], "keep") == 0) return keep_capabilities(context, masks[0]);
  if (strcmp(arguments[0], "final") != 0) return errno = EINVAL, fail(context, "unknown phase", arguments[0]);
  struct capability_sets wanted = {.effective = masks[1], .permitted = masks[2], .inheritable = masks[3]};
  return final_capabilities(context, wanted, masks[4]);
}

int op_no_new_privs(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)arguments, (void)count;
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? fail(context, "prctl", "PR_SET_NO_NEW_PRIVS") : 0;
}

static bool seccomp_flags(const char *list, unsigned *flags) {
  char name[32];
  *flags = 0;
  while (next_piece(&list, ',', name, sizeof name)) {
    if (strcmp(name, "log") == 0) *flags |= SECCOMP_FILTER_FLAG_LOG;
    else if (strcmp(name, "spec-allow") == 0) *flags |= SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    else if (strcmp(name, "tsync") == 0) *flags |= SECCOMP_FILTER_FLAG_TSYNC;
    else return false;
  }
  return *list == '\0';
}

/** Decodes hexadecimal into `program`. False when it is not a whole number of instructions. */
static bool decode_program(const char *hex, struct sock_filter *program, size_t instructions) {
  unsigned char *bytes = (unsigned char *)program;
  for (size_t at = 0; at < instructions * sizeof *program; at++) {
    char pair[3] = {hex[at * 2], hex[at * 2 + 1], '\0'};
    uint64_t value;
    if (pair[1] == 'x' || !parse_hex(pair, &value)) return false;
    bytes[at] = (unsigned char)value;
  }
  return true;
}

int op_seccomp(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  unsigned flags;
  size_t digits = strlen(arguments[0]), instructions = digits / (2 * sizeof(struct sock_filter));
  if (!seccomp_flags(arguments[1], &flags)) return errno = EINVAL, fail(context, "unknown flag in", arguments[1]);
  if (digits == 0 || digits % (2 * sizeof(struct sock_filter)) != 0 || instructions > LIMIT_FILTER) {
    return text_add(&context->detail, "the program is not a whole number of instructions"), EINVAL;
  }
  struct sock_filter *program = malloc(instructions * sizeof *program);
  if (!program) return ENOMEM;
  int error = 0;
  struct sock_fprog filter = {.len = (unsigned short)instructions, .filter = program};
  if (!decode_program(arguments[0], program, instructions)) error = EINVAL, text_add(&context->detail, "not hexadecimal");
  else if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter) < 0) error = fail(context, "seccomp", arguments[1]);
  free(program);
  return error;
}

/** The channel to the monitor stays: it closes by itself when exec succeeds, which is how the monitor learns of that. */
int op_close_range(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  int64_t number;
  if (!parse_number(arguments[0], 3, INT_MAX, &number)) return errno = EINVAL, fail(context, "no descriptor:", arguments[0]);
  unsigned first = (unsigned)number, channel = (unsigned)context->channel;
  context->mask_directory = context->terminal = -1;
  if (channel > first && sys_close_range(first, channel - 1, 0) < 0) return fail(context, "close_range", arguments[0]);
  unsigned rest = channel >= first ? channel + 1 : first;
  return sys_close_range(rest, ~0U, 0) < 0 ? fail(context, "close_range", arguments[0]) : 0;
}

/** A directory outside of the root shows as "(unreachable)…": a leaked descriptor of the host was entered. */
int op_chdir(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  char path[PATH_MAX];
  if (chdir(arguments[0]) < 0) return fail(context, "chdir", arguments[0]);
  if (syscall(SYS_getcwd, path, sizeof path) < 0) return fail(context, "getcwd in", arguments[0]);
  if (path[0] == '/') return 0;
  errno = ENOENT;
  return fail(context, "outside of the container:", arguments[0]);
}

static const char *search_path(char *const *environment) {
  for (; *environment; environment++) {
    if (strncmp(*environment, "PATH=", 5) == 0) return *environment + 5;
  }
  return "";
}

/** Tries each folder of PATH, as execvpe(3) does; empty and relative entries are passed over. */
static int exec_by_search(struct op_context *context, const char *file, char *const *words, char *const *environment) {
  char folder[PATH_MAX], path[PATH_MAX];
  const char *list = search_path(environment);
  int error = ENOENT;
  while (next_piece(&list, ':', folder, sizeof folder)) {
    struct text name = text_on(path);
    text_add(&name, folder);
    text_add(&name, "/");
    text_add(&name, file);
    if (folder[0] != '/' || name.cut) continue;
    execve(path, words, environment);
    if (errno == EACCES) error = EACCES;
    else if (errno != ENOENT && errno != ENOTDIR) return fail(context, "exec", path);
  }
  errno = error;
  return fail(context, "not found in PATH:", file);
}

int op_exec(struct op_context *context, const char *const *arguments, unsigned count) {
  int64_t words_count;
  if (!parse_number(arguments[1], 1, (int64_t)count - 2, &words_count)) {
    errno = EINVAL;
    return fail(context, "no count of arguments:", arguments[1]);
  }
  size_t variables = count - 2 - (size_t)words_count;
  char **words = calloc((size_t)words_count + 1, sizeof *words), **environment = calloc(variables + 1, sizeof *environment);
  if (!words || !environment) return ENOMEM;
  memcpy(words, arguments + 2, (size_t)words_count * sizeof *words);
  memcpy(environment, arguments + 2 + words_count, variables * sizeof *environment);
  if (!strchr(arguments[0], '/')) return exec_by_search(context, arguments[0], words, environment);
  execve(arguments[0], words, environment);
  return fail(context, "exec", arguments[0]);
}
