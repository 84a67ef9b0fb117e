// The end of a container: drain, record, announce, undo, farewell.
#include "monitor.h"

#include <limits.h>
#include <stdio.h>

/** A counter of the kernel, so that an OOM kill is seen even when the victim was not init. */
static bool was_oom_killed(const char *path) {
  char bytes[4096];
  if (!path || read_small(path, bytes, sizeof bytes) < 0) return false;
  for (char *line = bytes; line; line = strchr(line, '\n')) {
    while (*line == '\n') line++;
    if (strncmp(line, "oom_kill ", 9) == 0) return strtoul(line + 9, NULL, 10) > 0;
  }
  return false;
}

static void record_line(struct text *record, const char *key, int64_t number) {
  text_add(record, key);
  text_add(record, " ");
  text_add_number(record, number);
  text_add(record, "\n");
}

static void describe(const struct monitor *monitor, struct text *record) {
  const struct task *init = &monitor->init;
  record_line(record, "exit-code", init->exit_code);
  record_line(record, "signal", init->exit_signal);
  record_line(record, "oom", monitor->oom);
  text_add(record, "finished-at ");
  text_add(record, init->finished_at);
  text_add(record, "\n");
  record_line(record, "pid", init->pid);
  record_line(record, "start-time", (int64_t)init->start_time);
}

/** On disk, whole, before anyone is told of the exit. */
static void write_record(const struct monitor *monitor) {
  char bytes[512], temporary[PATH_MAX];
  struct text record = text_on(bytes), name = text_on(temporary);
  if (!monitor->exit_record) return;
  describe(monitor, &record);
  text_add(&name, monitor->exit_record);
  text_add(&name, ".new");
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  bool written = write_all(fd, bytes, record.used) == 0 && fsync(fd) == 0;
  close(fd);
  if (written) rename(temporary, monitor->exit_record);
  else unlink(temporary);
}

static void announce(struct monitor *monitor) {
  char bytes[128];
  struct text payload = text_on(bytes);
  struct client *next;
  task_describe_exit(&monitor->init, &payload);
  for (struct client *client = monitor->clients; client; client = next) {
    next = client->next;
    if (client->subscribed) client_send(client, FRAME_EXITED, bytes, payload.used);
  }
}

static void begin_farewell(struct monitor *monitor) {
  monitor->phase = PHASE_FAREWELL;
  monitor->farewell_until_ns = now_ns() + FAREWELL_NS;
}

/** The next start of this container makes a socket of the same name. */
static void stop_listening(struct monitor *monitor) {
  if (monitor->listener.fd < 0) return;
  unlink(monitor->socket_path);
  loop_close(&monitor->loop, &monitor->listener);
}

static void undo_mounts(struct monitor *monitor) {
  struct op_context context = {.undo = monitor->undo};
  undo_all(&context);
  monitor->undo = NULL;
}

/** Whoever is told the exit may start the container again at once, with the same ports. */
static void free_ports(const struct monitor *monitor) {
  for (int fd = HELD_FD; fd < monitor->held_until; fd++) close(fd);
}

static void finish_init(struct monitor *monitor) {
  monitor->oom = was_oom_killed(monitor->oom_control);
  monitor->init.told = true;
  log_close(&monitor->log);
  write_record(monitor);
  stop_listening(monitor);
  free_ports(monitor);
  announce(monitor);
  undo_mounts(monitor);
  begin_farewell(monitor);
}

void ending_without_start(struct monitor *monitor) {
  stop_listening(monitor);
  begin_farewell(monitor);
}

static bool everything_went_out(const struct monitor *monitor) {
  for (const struct client *client = monitor->clients; client; client = client->next) {
    if (client->out.used > 0) return false;
  }
  return monitor->sessions == NULL;
}

void ending_check(struct monitor *monitor) {
  struct task *init = &monitor->init;
  sessions_check(monitor);
  if (monitor->phase == PHASE_RUNNING && init->exited && task_drained(init)) finish_init(monitor);
  if (monitor->phase != PHASE_FAREWELL) return;
  if (everything_went_out(monitor) || now_ns() >= monitor->farewell_until_ns) monitor->phase = PHASE_OVER;
}

static void earliest(uint64_t *until, uint64_t other) {
  if (other < *until) *until = other;
}

int ending_timeout_ms(const struct monitor *monitor) {
  uint64_t until = UINT64_MAX, now = now_ns();
  if (monitor->init.exited && !monitor->init.told) earliest(&until, monitor->init.drain_until_ns);
  if (monitor->phase == PHASE_FAREWELL) earliest(&until, monitor->farewell_until_ns);
  for (const struct task *task = monitor->sessions; task; task = task->next) {
    if (task->exited && task->started) earliest(&until, task->drain_until_ns);
  }
  if (until == UINT64_MAX) return -1;
  return until <= now ? 0 : (int)((until - now) / 1000000) + 1;
}
