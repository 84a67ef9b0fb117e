#include "loop.h"

#define EVENTS_PER_TURN 32

int loop_init(struct loop *loop) {
  *loop = (struct loop){.epoll = epoll_create1(EPOLL_CLOEXEC)};
  return loop->epoll < 0 ? errno : 0;
}

int loop_add(struct loop *loop, struct source *source, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = source};
  source->fd = fd;
  source->events = events;
  // A source that waits for nothing is not in the set: epoll would tell of hang-ups again and again.
  if (events == 0) return 0;
  return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

void loop_want(struct loop *loop, struct source *source, uint32_t events) {
  if (source->fd < 0 || source->events == events) return;
  struct epoll_event event = {.events = events, .data.ptr = source};
  int change = events == 0 ? EPOLL_CTL_DEL : source->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  epoll_ctl(loop->epoll, change, source->fd, &event);
  source->events = events;
}

void loop_close(struct loop *loop, struct source *source) {
  loop_want(loop, source, 0);
  close_quietly(&source->fd);
}

void loop_free(struct loop *loop, void *memory) {
  // At most one object dies for each event at hand; were the list full, forgetting is safer than freeing.
  if (loop->doomed_count < countof(loop->doomed)) loop->doomed[loop->doomed_count++] = memory;
}

void loop_turn(struct loop *loop, int timeout_ms) {
  struct epoll_event events[EVENTS_PER_TURN];
  int count = epoll_wait(loop->epoll, events, EVENTS_PER_TURN, timeout_ms);
  for (int number = 0; number < count; number++) {
    struct source *source = events[number].data.ptr;
    if (source->fd >= 0) source->ready(source, events[number].events);
  }
  while (loop->doomed_count > 0) free(loop->doomed[--loop->doomed_count]);
}
