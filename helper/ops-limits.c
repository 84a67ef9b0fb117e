// Names, kernel parameters, resource limits, keyring, umask.
#include "kernel.h"
#include "ops.h"
#include "root.h"

#include <limits.h>
#include <linux/keyctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

int op_sethostname(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  return sethostname(arguments[0], strlen(arguments[0])) < 0 ? fail(context, "sethostname", arguments[0]) : 0;
}

int op_setdomainname(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  return setdomainname(arguments[0], strlen(arguments[0])) < 0 ? fail(context, "setdomainname", arguments[0]) : 0;
}

int op_sysctl(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  char path[PATH_MAX];
  struct text name = text_on(path);
  text_add(&name, "sys/");
  text_add(&name, arguments[0]);
  if (name.cut) return errno = ENAMETOOLONG, fail(context, "sysctl", arguments[0]);
  // As sysctl(8): a key with slashes is a path, one without is dotted.
  if (!strchr(arguments[0], '/')) {
    for (char *at = path; *at; at++) *at = *at == '.' ? '/' : *at;
  }
  int fd = proc_open(path, O_WRONLY | O_NOFOLLOW);
  if (fd < 0) return fail(context, "open sysctl", arguments[0]);
  int error = write(fd, arguments[1], strlen(arguments[1])) < 0 ? fail(context, "write sysctl", arguments[0]) : 0;
  close(fd);
  return error;
}

static const struct {
  const char *name;
  int resource;
} resources[] = {
  {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
  {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
  {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
  {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
  {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
  {"stack", RLIMIT_STACK},
};

static int resource_number(const char *name) {
  for (size_t number = 0; number < countof(resources); number++) {
    if (strcmp(resources[number].name, name) == 0) return resources[number].resource;
  }
  return -1;
}

static bool parse_limit(const char *words, rlim_t *limit) {
  int64_t number;
  if (strcmp(words, "unlimited") == 0 || strcmp(words, "-1") == 0) {
    *limit = RLIM_INFINITY;
    return true;
  }
  if (!parse_number(words, 0, INT64_MAX, &number)) return false;
  *limit = (rlim_t)number;
  return true;
}

/** A host without CAP_SYS_RESOURCE cannot raise the hard limit: the limits come as near as they may. */
static int keep_what_may_be_had(struct op_context *context, int resource, struct rlimit wanted, const char *name) {
  struct rlimit now;
  if (getrlimit(resource, &now) < 0) return fail(context, "getrlimit", name);
  if (wanted.rlim_max > now.rlim_max) wanted.rlim_max = now.rlim_max;
  if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
  if (setrlimit(resource, &wanted) < 0) return fail(context, "setrlimit", name);
  text_add(&context->detail, "hard limit kept at ");
  if (wanted.rlim_max == RLIM_INFINITY) text_add(&context->detail, "unlimited");
  else text_add_number(&context->detail, (int64_t)wanted.rlim_max);
  return -EPERM;
}

int op_rlimit(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  struct rlimit wanted;
  int resource = resource_number(arguments[0]);
  if (resource < 0 || !parse_limit(arguments[1], &wanted.rlim_cur) || !parse_limit(arguments[2], &wanted.rlim_max)) {
    errno = EINVAL;
    return fail(context, "no such limit", arguments[0]);
  }
  if (setrlimit(resource, &wanted) == 0) return 0;
  return errno == EPERM ? keep_what_may_be_had(context, resource, wanted, arguments[0]) : fail(context, "setrlimit", arguments[0]);
}

/** The possessor's rights do not reach a process that changed its user: its own user may search it, as runc has it. */
static void make_keyring_searchable(long keyring) {
  char words[512];
  uint64_t rights;
  const uint64_t user_may_search = 0x00080000;
  long length = syscall(SYS_keyctl, KEYCTL_DESCRIBE, keyring, words, sizeof words - 1, 0);
  if (length <= 0 || length >= (long)sizeof words) return;
  words[length] = '\0';
  // "keyring;uid;gid;rights;name"
  char *field = words;
  for (int number = 0; number < 3 && field; number++) field = (field = strchr(field, ';')) ? field + 1 : NULL;
  if (!field) return;
  field[strcspn(field, ";")] = '\0';
  if (parse_hex(field, &rights)) syscall(SYS_keyctl, KEYCTL_SETPERM, keyring, rights | user_may_search, 0, 0);
}

int op_keyring(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  long keyring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, arguments[0], 0, 0, 0);
  if (keyring < 0 && errno == ENOSYS) return text_add(&context->detail, "this kernel has no keyrings"), -ENOSYS;
  if (keyring < 0) return fail(context, "keyring", arguments[0]);
  make_keyring_searchable(keyring);
  return 0;
}

int op_umask(struct op_context *context, const char *const *arguments, unsigned count) {
  (void)count;
  uint32_t mask;
  if (!parse_octal(arguments[0], 0777, &mask)) return errno = EINVAL, fail(context, "no umask:", arguments[0]);
  umask(mask);
  return 0;
}
