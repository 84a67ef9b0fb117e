// An epoll loop over sources. A source is embedded in what it belongs to.
#pragma once

#include "base.h"

#include <sys/epoll.h>

struct source {
  int fd; // -1: not watched
  uint32_t events;
  void (*ready)(struct source *source, uint32_t events);
};

#define owner_of(source, type, member) ((type *)((char *)(source) - offsetof(type, member)))

struct loop {
  int epoll;
  void *doomed[64]; // freed after the events at hand, which may still point at them
  unsigned doomed_count;
};

int loop_init(struct loop *loop);
/** Watches `fd` from now on. 0 or errno. */
int loop_add(struct loop *loop, struct source *source, int fd, uint32_t events);
/** Changes what is waited for; 0 leaves errors and hang-ups out too. */
void loop_want(struct loop *loop, struct source *source, uint32_t events);
/** Stops watching and closes the descriptor. */
void loop_close(struct loop *loop, struct source *source);
/** Frees memory that holds a source, once no event at hand can point at it. */
void loop_free(struct loop *loop, void *memory);
/** Waits at most that long (-1: for ever) and calls the sources that are ready. */
void loop_turn(struct loop *loop, int timeout_ms);
