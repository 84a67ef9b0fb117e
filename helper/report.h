// The report of an op: index, errno, nanoseconds, detail.
#pragma once

#include "base.h"

#define LARGEST_REPORT_BYTES 640

static inline void report_add(struct text *reports, unsigned index, int error, uint64_t nanoseconds, const char *detail) {
  text_add_number_field(reports, index);
  text_add_number_field(reports, error);
  text_add_number_field(reports, (int64_t)nanoseconds);
  text_add_field(reports, detail);
}

static inline bool report_fits(const struct text *reports) { return reports->size - reports->used > LARGEST_REPORT_BYTES; }
