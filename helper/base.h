// What every file of the helper uses: text without stdio, numbers, descriptors, raw system calls.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

// Each can be given to the compiler, so that tests can make another release's helper.
#ifndef PROTOCOL_VERSION
#define PROTOCOL_VERSION "1"
#endif
#ifndef PLAN_VERSION
#define PLAN_VERSION "1"
#endif
#ifndef OP_SET
#define OP_SET "2"
#endif

#define countof(array) (sizeof(array) / sizeof(array)[0])

/** Text that is put together in a fixed buffer; what does not fit is cut, and `cut` says so. Always NUL-terminated. */
struct text {
  char *at;
  size_t used, size;
  bool cut;
};

#define text_on(array) ((struct text){.at = (array), .used = 0, .size = sizeof(array), .cut = false})

void text_add(struct text *text, const char *words);
void text_add_bytes(struct text *text, const void *bytes, size_t count);
void text_add_number(struct text *text, int64_t number);
/** `number` padded with zeros to at least `digits`. */
void text_add_padded(struct text *text, uint64_t number, unsigned digits);
/** A field of a frame: the number in decimal and a NUL. */
void text_add_number_field(struct text *text, int64_t number);
/** A field of a frame: the words and a NUL. */
void text_add_field(struct text *text, const char *words);

/** Decimal or octal text as a whole number within limits. False when it is anything else. */
bool parse_number(const char *words, int64_t least, int64_t most, int64_t *number);
bool parse_octal(const char *words, uint32_t most, uint32_t *number);
bool parse_hex(const char *words, uint64_t *number);

/** The next piece of `list` up to `separator`, copied into `piece`. False at the end, or when a piece is too long. */
bool next_piece(const char **list, char separator, char *piece, size_t size);

/** Nanoseconds of CLOCK_MONOTONIC. */
uint64_t now_ns(void);
/** Appends the wall clock as 2006-01-02T15:04:05.123456789Z. */
void text_add_time(struct text *text);

/** Writes everything to a blocking descriptor. 0 or errno. */
int write_all(int fd, const void *bytes, size_t count);
/** Reads a small file whole and ends it with NUL. The count, or -1 with errno. */
ssize_t read_small(const char *path, char *bytes, size_t size);
/** Writes `words` to an existing file by one write(2). 0 or errno. */
int write_file(const char *path, const char *words);
void close_quietly(int *fd);
int set_nonblocking(int fd);

/** Field 22 of /proc/PID/stat, 0 when the process is gone. */
uint64_t start_time_of(pid_t pid);

int sys_pidfd_open(pid_t pid);
int sys_pidfd_send_signal(int pidfd, int signal);
