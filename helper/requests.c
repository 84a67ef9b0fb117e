// What a client can ask of a monitor.
#include "monitor.h"

#include <signal.h>

static bool numbers(const struct frame *frame, unsigned count, int64_t most, int64_t *values) {
  for (unsigned index = 0; index < count; index++) {
    const char *field = frame_field(frame, index);
    if (!field || !parse_number(field, 0, most, &values[index])) return false;
  }
  return frame_field(frame, count) == NULL;
}

static bool take_stdin(struct client *client, const struct frame *frame) {
  struct task *task = client->task;
  bool allowed = client->wants & WANTS_STDIN;
  if (!allowed) return true;
  if (frame->length == 0) {
    if (!task->terminal) task_close_input(task);
    return true;
  }
  client->stdin_done += task_write(task, frame->payload + client->stdin_done, frame->length - client->stdin_done);
  return client->stdin_done >= frame->length;
}

static unsigned wants_of(const struct frame *frame) {
  unsigned wants = 0;
  const char *field;
  for (unsigned index = 0; (field = frame_field(frame, index)); index++) {
    if (strcmp(field, "stdin") == 0) wants |= WANTS_STDIN;
    else if (strcmp(field, "stdout") == 0) wants |= WANTS_STDOUT;
    else if (strcmp(field, "stderr") == 0) wants |= WANTS_STDERR;
    else return 0;
  }
  return wants;
}

static void attach(struct client *client, const struct frame *frame) {
  unsigned wants = wants_of(frame);
  if (!client->task->is_init || wants == 0) return client_done(client, EINVAL);
  client->wants = wants;
  client_send_position(client, FRAME_ATTACHED);
}

static void resize(struct client *client, const struct frame *frame) {
  int64_t size[2];
  if (!numbers(frame, 2, UINT16_MAX, size)) return client_done(client, EINVAL);
  client_done(client, task_resize(client->task, size[0], size[1]));
}

static void send_signal(struct client *client, const struct frame *frame) {
  int64_t number;
  struct task *init = &client->monitor->init;
  if (!numbers(frame, 1, NSIG - 1, &number)) return client_done(client, EINVAL);
  if (!init->started || init->exited) return client_done(client, ESRCH);
  client_done(client, sys_pidfd_send_signal(init->pidfd, (int)number) < 0 ? errno : 0);
}

static void subscribe(struct client *client) {
  char bytes[128];
  struct text payload = text_on(bytes);
  client->subscribed = true;
  client_done(client, 0);
  if (!client->monitor->init.told) return;
  task_describe_exit(&client->monitor->init, &payload);
  client_send(client, FRAME_EXITED, bytes, payload.used);
}

static void go(struct client *client) {
  struct monitor *monitor = client->monitor;
  if (!client->is_start || !monitor->run || monitor->run->state != RUN_COMMIT) return client_done(client, EINVAL);
  run_commit(monitor->run);
}

static void start_session(struct client *client, const struct frame *frame) {
  int error = session_start(client, frame);
  if (error) client_done(client, error);
}

bool request_handle(struct client *client, const struct frame *frame) {
  switch (frame->type) {
    case FRAME_STDIN: return take_stdin(client, frame);
    case FRAME_ATTACH: attach(client, frame); break;
    case FRAME_RESIZE: resize(client, frame); break;
    case FRAME_SIGNAL: send_signal(client, frame); break;
    case FRAME_SUBSCRIBE: subscribe(client); break;
    case FRAME_GO: go(client); break;
    case FRAME_EXEC: start_session(client, frame); break;
    default: client_forget(client); break;
  }
  return true;
}
