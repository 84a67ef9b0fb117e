// Connections to a monitor: frames in, frames out, each with a bounded buffer.
#include "fd-passing.h"
#include "monitor.h"

#include <sys/socket.h>

static void client_ready(struct source *source, uint32_t events);

struct client *client_add(struct monitor *monitor, int fd) {
  struct client *client = calloc(1, sizeof *client);
  if (!client || set_nonblocking(fd)) return free(client), NULL;
  client->monitor = monitor;
  client->task = &monitor->init;
  client->log_fd = -1;
  client->source.ready = client_ready;
  if (loop_add(&monitor->loop, &client->source, fd, EPOLLIN)) return free(client), NULL;
  client->next = monitor->clients;
  monitor->clients = client;
  monitor->client_count++;
  return client;
}

static void unlink_client(struct client *client) {
  struct client **link = &client->monitor->clients;
  while (*link && *link != client) link = &(*link)->next;
  if (*link) *link = client->next;
  client->monitor->client_count--;
}

static void close_received(struct client *client) {
  while (client->received_count > 0) close(client->received[--client->received_count]);
}

static bool closes_stdin(const struct client *client) {
  const struct task *task = client->task;
  if (!(client->wants & WANTS_STDIN) || task->terminal) return false;
  return task->is_init ? client->monitor->stdin_once : true;
}

void client_forget(struct client *client) {
  struct monitor *monitor = client->monitor;
  struct task *task = client->task;
  if (client->gone) return;
  client->gone = true;
  if (closes_stdin(client)) task_close_input(task);
  unlink_client(client);
  if (monitor->start == client) monitor->start = NULL;
  if (task->client == client) task->client = NULL;
  loop_close(&monitor->loop, &client->source);
  close_received(client);
  close_quietly(&client->log_fd);
  buffer_free(&client->in);
  buffer_free(&client->out);
  loop_free(&monitor->loop, client);
  // Whoever waited for this client's room waits no longer.
  task_resume(task);
}

bool client_has_room(const struct client *client, size_t length) {
  return client->out.used + FRAME_HEADER_BYTES + length <= LIMIT_CLIENT_BYTES;
}

static void update_interest(struct client *client) {
  uint32_t events = client->stalled || client->closing ? 0 : EPOLLIN;
  if (client->out.used > 0) events |= EPOLLOUT;
  loop_want(&client->monitor->loop, &client->source, events);
}

void client_flush(struct client *client) {
  while (!client->gone && client->out.used > 0) {
    ssize_t sent = send(client->source.fd, buffer_front(&client->out), client->out.used, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) return client_forget(client);
    buffer_take(&client->out, (size_t)sent);
  }
  if (client->gone) return;
  if (client->closing && client->out.used == 0) return client_forget(client);
  update_interest(client);
}

/** The last bytes of a process that ended are kept here, since its pipe goes; before that it is made to wait. */
static size_t reserve(const struct client *client) {
  return client->task->exited ? LIMIT_LAST_BYTES : LIMIT_CONTROL_BYTES;
}

bool client_send(struct client *client, enum frame_type type, const void *payload, size_t length) {
  if (client->gone || client->closing) return false;
  bool idle = client->out.used == 0;
  bool fits = client->out.used + FRAME_HEADER_BYTES + length <= LIMIT_CLIENT_BYTES + reserve(client);
  if (!fits || !frame_add(&client->out, type, payload, length)) {
    client_forget(client);
    return false;
  }
  // Bytes that wait already are waiting for EPOLLOUT.
  if (idle) client_flush(client);
  return !client->gone;
}

void client_done(struct client *client, int error) {
  char bytes[16];
  struct text payload = text_on(bytes);
  text_add_number_field(&payload, error);
  client_send(client, FRAME_DONE, bytes, payload.used);
}

void client_send_position(struct client *client, enum frame_type type) {
  const struct log *log = &client->monitor->log;
  char bytes[64];
  struct text payload = text_on(bytes);
  text_add_number_field(&payload, (int64_t)log->inode);
  text_add_number_field(&payload, (int64_t)log->offset);
  client_send(client, type, bytes, payload.used);
}

static bool is_listening(const struct client *client, const struct task *task, unsigned wants) {
  return client->task == task && (client->wants & wants) && !client->gone && !client->closing;
}

static bool has_log(const struct task *task) { return task->is_init && task->monitor->log.path; }

bool clients_can_take(const struct task *task) {
  if (has_log(task)) return true;
  for (const struct client *client = task->monitor->clients; client; client = client->next) {
    if (is_listening(client, task, WANTS_STDOUT | WANTS_STDERR) && !client_has_room(client, READ_BYTES)) return false;
  }
  return true;
}

/** Clients without room get nothing more, but word where in the log to go on. */
static void leave_behind(struct task *task, unsigned wanting, size_t count) {
  struct client *next;
  for (struct client *client = task->monitor->clients; client; client = next) {
    next = client->next;
    if (!is_listening(client, task, wanting) || client_has_room(client, count)) continue;
    client->wants &= WANTS_STDIN;
    close_quietly(&client->log_fd);
    client->log_fd = log_hold(&task->monitor->log);
    client_send_position(client, FRAME_LAGGING);
  }
}

void clients_deliver(struct task *task, enum frame_type stream, const char *bytes, size_t count) {
  unsigned wanting = stream == FRAME_STDOUT ? WANTS_STDOUT : WANTS_STDERR;
  // Without a log, the task is not read while a client has no room.
  if (has_log(task)) {
    leave_behind(task, wanting, count);
    log_write(&task->monitor->log, stream == FRAME_STDOUT ? "stdout" : "stderr", bytes, count);
  }
  struct client *next;
  for (struct client *client = task->monitor->clients; client; client = next) {
    next = client->next;
    if (is_listening(client, task, wanting)) client_send(client, stream, bytes, count);
  }
}

/** Takes whole frames from the buffer until one has to wait. */
static void handle_frames(struct client *client) {
  struct frame frame;
  while (!client->gone && !client->closing) {
    enum frame_state state = frame_peek(&client->in, &frame);
    if (state == FRAME_BAD) return client_forget(client);
    if (state == FRAME_INCOMPLETE) break;
    size_t size = FRAME_HEADER_BYTES + frame.length;
    if (!request_handle(client, &frame)) {
      client->stalled = true;
      break;
    }
    if (client->gone) return;
    client->stdin_done = 0;
    buffer_take(&client->in, size);
  }
  if (!client->gone) update_interest(client);
}

void client_resume(struct client *client) {
  client->stalled = false;
  handle_frames(client);
}

static void keep_received(struct client *client, int *fds, unsigned count) {
  for (unsigned number = 0; number < count; number++) {
    if (client->received_count < countof(client->received)) client->received[client->received_count++] = fds[number];
    else close(fds[number]);
  }
}

static void read_client(struct client *client) {
  char bytes[READ_BYTES];
  int fds[2];
  unsigned descriptors;
  ssize_t count = receive_with_descriptors(client->source.fd, bytes, sizeof bytes, fds, 2, &descriptors);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  keep_received(client, fds, descriptors);
  if (count <= 0 || !buffer_add(&client->in, bytes, (size_t)count)) return client_forget(client);
  handle_frames(client);
}

static void client_ready(struct source *source, uint32_t events) {
  struct client *client = owner_of(source, struct client, source);
  struct task *task = client->task;
  if (events & EPOLLOUT) {
    client_flush(client);
    if (client->gone) return;
    task_resume(task);
  }
  if (events & EPOLLIN) read_client(client);
  else if (events & (EPOLLHUP | EPOLLERR)) client_forget(client);
}
