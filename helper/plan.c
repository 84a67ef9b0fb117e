#include "plan.h"

#include <sys/stat.h>

/** Walks over the fields; `left` reaching 0 too early is a truncated plan. */
struct cursor {
  const char **next;
  size_t left;
};

static const char *take(struct cursor *cursor) {
  if (cursor->left == 0) return NULL;
  cursor->left--;
  return *cursor->next++;
}

static bool take_count(struct cursor *cursor, int64_t most, unsigned *count) {
  const char *field = take(cursor);
  int64_t number;
  if (!field || !parse_number(field, 0, most, &number)) return false;
  *count = (unsigned)number;
  return true;
}

static int refuse(struct text *detail, const char *why) {
  text_add(detail, "the plan is malformed: ");
  text_add(detail, why);
  return EINVAL;
}

static int read_bytes(int fd, char **bytes, size_t *count, struct text *detail) {
  struct stat about;
  if (fstat(fd, &about) < 0) {
    text_add(detail, "the plan's descriptor");
    return errno;
  }
  if (!S_ISREG(about.st_mode)) return refuse(detail, "not a regular file");
  if (about.st_size <= 0 || about.st_size > PLAN_LIMIT_BYTES) return refuse(detail, "empty, or more than 16 MiB");
  *count = (size_t)about.st_size;
  *bytes = malloc(*count);
  if (!*bytes) return ENOMEM;
  for (size_t used = 0; used < *count;) {
    ssize_t got = pread(fd, *bytes + used, *count - used, (off_t)used);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got < 0 ? errno : refuse(detail, "shorter than its file said");
    used += (size_t)got;
  }
  return (*bytes)[*count - 1] == '\0' ? 0 : refuse(detail, "the last field does not end");
}

static int split_fields(struct plan *plan, size_t size, size_t *count) {
  *count = 0;
  for (size_t at = 0; at < size; at++) *count += plan->bytes[at] == '\0';
  plan->fields = malloc(*count * sizeof *plan->fields);
  if (!plan->fields) return ENOMEM;
  const char *field = plan->bytes;
  for (size_t number = 0; number < *count; number++) {
    plan->fields[number] = field;
    field += strlen(field) + 1;
  }
  return 0;
}

static int read_settings(struct plan *plan, struct cursor *cursor, struct text *detail) {
  if (!take_count(cursor, PLAN_LIMIT_SETTINGS, &plan->setting_count)) return refuse(detail, "count of settings");
  plan->settings = cursor->next;
  for (unsigned number = 0; number < plan->setting_count * 2; number++) {
    if (!take(cursor)) return refuse(detail, "settings end early");
  }
  return 0;
}

static int read_op(struct op *op, struct cursor *cursor, struct text *detail) {
  const char *actor = take(cursor), *name = take(cursor);
  if (!actor || !name) return refuse(detail, "ops end early");
  if (strcmp(actor, "monitor") == 0) op->actor = ACTOR_MONITOR;
  else if (strcmp(actor, "child") == 0) op->actor = ACTOR_CHILD;
  else return refuse(detail, "an actor is neither monitor nor child");
  op->kind = op_kind(name);
  if (!op->kind) {
    text_add(detail, "unknown op ");
    text_add(detail, name);
    return ENOSYS;
  }
  if (!take_count(cursor, PLAN_LIMIT_ARGUMENTS, &op->argument_count)) return refuse(detail, "count of arguments");
  op->arguments = cursor->next;
  for (unsigned number = 0; number < op->argument_count; number++) {
    if (!take(cursor)) return refuse(detail, "arguments end early");
  }
  if (op->argument_count < op->kind->least || op->argument_count > op->kind->most || !(op->kind->actors & op->actor)) {
    text_add(detail, "wrong actor or number of arguments for ");
    text_add(detail, name);
    return EINVAL;
  }
  return 0;
}

/** One clone before anything of the child's, and the child's exec at the very end. */
static int check_shape(const struct plan *plan, struct text *detail) {
  unsigned clones = 0;
  for (unsigned index = 0; index < plan->op_count; index++) {
    const struct op *op = &plan->ops[index];
    bool last = index + 1 == plan->op_count;
    if (op->kind->special == OP_CLONE) clones++;
    else if (op->kind->special == OP_SYNC && clones == 0) return refuse(detail, "sync before clone");
    else if (op->actor == ACTOR_CHILD && clones == 0) return refuse(detail, "an op of the child before clone");
    if ((op->kind->special == OP_EXEC) != last) return refuse(detail, "exec is not the last op");
  }
  return clones == 1 ? 0 : refuse(detail, "not exactly one clone");
}

static int read_ops(struct plan *plan, struct cursor *cursor, struct text *detail) {
  if (!take_count(cursor, PLAN_LIMIT_OPS, &plan->op_count)) return refuse(detail, "count of ops");
  plan->ops = calloc(plan->op_count + 1, sizeof *plan->ops);
  if (!plan->ops) return ENOMEM;
  for (unsigned index = 0; index < plan->op_count; index++) {
    int error = read_op(&plan->ops[index], cursor, detail);
    if (error) return error;
  }
  if (cursor->left > 0) return refuse(detail, "fields are left over");
  return check_shape(plan, detail);
}

static int parse(struct plan *plan, int fd, struct text *detail) {
  size_t size = 0, count = 0;
  int error = read_bytes(fd, &plan->bytes, &size, detail);
  if (error) return error;
  error = split_fields(plan, size, &count);
  if (error) return error;
  struct cursor cursor = {plan->fields, count};
  const char *magic = take(&cursor), *version = take(&cursor);
  if (!version || strcmp(magic, "vitrine-plan") != 0) return refuse(detail, "it does not begin with vitrine-plan");
  if (strcmp(version, PLAN_VERSION) != 0) return refuse(detail, "another version than " PLAN_VERSION);
  error = read_settings(plan, &cursor, detail);
  return error ? error : read_ops(plan, &cursor, detail);
}

int plan_read(struct plan *plan, int fd, struct text *detail) {
  *plan = (struct plan){0};
  int error = parse(plan, fd, detail);
  if (error) plan_free(plan);
  return error;
}

void plan_free(struct plan *plan) {
  free(plan->bytes);
  free(plan->fields);
  free(plan->ops);
  *plan = (struct plan){0};
}

const char *plan_setting(const struct plan *plan, const char *key) {
  for (unsigned number = 0; number < plan->setting_count; number++) {
    if (strcmp(plan->settings[number * 2], key) == 0) return plan->settings[number * 2 + 1];
  }
  return NULL;
}

bool plan_flag(const struct plan *plan, const char *key) {
  const char *value = plan_setting(plan, key);
  return value && strcmp(value, "1") == 0;
}
