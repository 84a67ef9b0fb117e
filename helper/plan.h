// A plan as src/spec/plan.ts encodes it: fields of text, each ended by NUL.
#pragma once

#include "base.h"
#include "ops.h"

#define PLAN_LIMIT_BYTES (16u * 1024 * 1024)
#define PLAN_LIMIT_OPS 4096
#define PLAN_LIMIT_ARGUMENTS 65536
#define PLAN_LIMIT_SETTINGS 256

struct op {
  enum actor actor;
  const struct op_kind *kind;
  unsigned argument_count;
  const char **arguments;
};

struct plan {
  char *bytes;
  const char **fields;
  struct op *ops;
  const char **settings; // key, value, key, value, …
  unsigned op_count, setting_count;
};

/** Reads and checks the plan on `fd`. 0, or errno with a reason in `detail`. On failure there is nothing to free. */
int plan_read(struct plan *plan, int fd, struct text *detail);
void plan_free(struct plan *plan);
/** A setting's value, NULL when it is absent. */
const char *plan_setting(const struct plan *plan, const char *key);
/** Whether the setting is `1`. */
bool plan_flag(const struct plan *plan, const char *key);
