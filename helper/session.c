// Exec sessions: a helper is forked off, enters the container and becomes the process; here its stdio is served.
#include "fd-passing.h"
#include "kernel.h"
#include "memory.h"
#include "monitor.h"
#include "session.h"

#include <signal.h>
#include <sys/socket.h>

#define FIRST_FREE_FD 10 // above those that the helper expects in their places

/** What the forked process needs, by the number it shall have there. */
struct inheritance {
  int descriptors[6];
  int helper;
};

static void refuse(int control, int error) {
  unsigned char header[FRAME_HEADER_BYTES];
  char bytes[64];
  struct text payload = text_on(bytes);
  text_add_number_field(&payload, -1);
  text_add_number_field(&payload, error);
  text_add_field(&payload, "the helper could not be executed");
  frame_header(header, FRAME_FAILED, payload.used);
  if (write_all(control, header, sizeof header) == 0) write_all(control, bytes, payload.used);
  _exit(1);
}

_Noreturn static void become_helper(struct inheritance inherited) {
  char *const words[] = {"vitrine-helper", "exec", NULL}, *const environment[] = {NULL};
  sigset_t none;
  int helper = fcntl(inherited.helper, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
  // First out of the way, then into place: a source may have the number of another's place.
  for (int number = 0; number < 6; number++) {
    inherited.descriptors[number] = fcntl(inherited.descriptors[number], F_DUPFD_CLOEXEC, FIRST_FREE_FD);
  }
  for (int number = 0; number < 6; number++) {
    if (dup2(inherited.descriptors[number], number) < 0) _exit(1);
  }
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  syscall(SYS_execveat, helper, "", words, environment, AT_EMPTY_PATH);
  refuse(SESSION_CONTROL_FD, errno);
  _exit(1);
}

static bool setting(const struct frame *settings, const char *key) {
  const char *name, *value;
  for (unsigned index = 0; (name = frame_field(settings, index)) && (value = frame_field(settings, index + 1)); index += 2) {
    if (strcmp(name, key) == 0) return strcmp(value, "1") == 0;
  }
  return false;
}

static void tell_client(struct task *task, enum frame_type type, const void *payload, size_t length) {
  if (task->client) client_send(task->client, type, payload, length);
}

/** The connection of a session that is over is closed when its last bytes have gone. */
static void dismiss_client(struct task *task) {
  struct client *client = task->client;
  if (!client) return;
  client->closing = true;
  client->wants = 0;
  client->task = &task->monitor->init;
  task->client = NULL;
  client_flush(client);
}

static void remove_session(struct task *task) {
  struct task **link = &task->monitor->sessions;
  dismiss_client(task);
  while (*link && *link != task) link = &(*link)->next;
  if (*link) *link = task->next;
  task_close(task);
  loop_free(&task->monitor->loop, task);
  memory_give_back();
}

static void session_failed(struct task *task, const char *payload, size_t length) {
  task->failed = true;
  tell_client(task, FRAME_FAILED, payload, length);
}

static void helper_ended(struct task *task) {
  char bytes[96];
  struct text payload = text_on(bytes);
  loop_close(&task->monitor->loop, &task->control);
  if (task->started || task->failed) return;
  text_add_number_field(&payload, -1);
  text_add_number_field(&payload, ECHILD);
  text_add_field(&payload, "the helper ended before the process had started");
  session_failed(task, bytes, payload.used);
}

/** It cannot have been reaped yet: this monitor is its parent. The helper sees another /proc, so its start is read here. */
static void process_made(struct task *task, const struct frame *frame) {
  const char *pid = frame_field(frame, 0);
  int64_t number;
  if (!pid || !parse_number(pid, 1, INT32_MAX, &number)) return;
  task->pid = (pid_t)number;
  task->pidfd = sys_pidfd_open(task->pid);
  task->start_time = start_time_of(task->pid);
}

static void process_started(struct task *task) {
  char bytes[64];
  struct text payload = text_on(bytes);
  task->started = true;
  text_add_number_field(&payload, task->pid);
  text_add_number_field(&payload, (int64_t)task->start_time);
  tell_client(task, FRAME_STARTED, bytes, payload.used);
}

static void handle_helper_frame(struct task *task, const struct frame *frame, int *terminal) {
  switch (frame->type) {
    case FRAME_READY: process_made(task, frame); break;
    case FRAME_REPORT: tell_client(task, FRAME_REPORT, frame->payload, frame->length); break;
    case FRAME_STARTED: process_started(task); break;
    case FRAME_FAILED: session_failed(task, frame->payload, frame->length); break;
    case FRAME_TERMINAL:
      if (*terminal >= 0 && task->terminal) task_take_terminal(task, *terminal), *terminal = -1;
      break;
    default: break;
  }
}

static void handle_helper_frames(struct task *task, int *terminal) {
  struct frame frame;
  while (frame_peek(&task->control_bytes, &frame) == FRAME_COMPLETE) {
    handle_helper_frame(task, &frame, terminal);
    buffer_take(&task->control_bytes, FRAME_HEADER_BYTES + frame.length);
  }
}

/** Reads once. False when there is nothing for now. The terminal comes with the bytes of its own frame. */
static bool hear_helper(struct task *task) {
  char bytes[4096];
  int terminal = -1;
  unsigned descriptors;
  if (task->control.fd < 0) return false;
  ssize_t count = receive_with_descriptors(task->control.fd, bytes, sizeof bytes, &terminal, 1, &descriptors);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (count > 0 && buffer_add(&task->control_bytes, bytes, (size_t)count)) handle_helper_frames(task, &terminal);
  else helper_ended(task);
  close_quietly(&terminal);
  return true;
}

static void control_ready(struct source *source, uint32_t events) {
  (void)events;
  hear_helper(owner_of(source, struct task, control));
}

void sessions_hear(struct monitor *monitor) {
  for (struct task *task = monitor->sessions; task; task = task->next) {
    while (hear_helper(task)) continue;
  }
}

static int fork_helper(struct task *task, struct inheritance *inherited) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return errno;
  inherited->descriptors[SESSION_CONTROL_FD] = ends[1];
  pid_t pid = fork();
  if (pid == 0) become_helper(*inherited);
  int error = pid < 0 ? errno : 0;
  close(ends[1]);
  task->helper = pid;
  task->control.ready = control_ready;
  if (!error) error = set_nonblocking(ends[0]);
  if (error) return close(ends[0]), error;
  return loop_add(&task->monitor->loop, &task->control, ends[0], EPOLLIN);
}

static int open_session(struct task *task, struct client *client) {
  struct inheritance inherited = {.descriptors = {-1, -1, -1, client->received[1], -1, task->monitor->init.pidfd},
                                  .helper = client->received[0]};
  int error = task->terminal ? task_open_null(inherited.descriptors) : task_make_pipes(task, inherited.descriptors);
  if (!error) error = fork_helper(task, &inherited);
  for (int standard = 0; standard < 3; standard++) close_quietly(&inherited.descriptors[standard]);
  return error;
}

static int may_start(const struct client *client) {
  const struct task *init = &client->monitor->init;
  if (client->received_count != 2 || client->task != init || client->wants) return EINVAL;
  return init->started && !init->exited ? 0 : ESRCH;
}

int session_start(struct client *client, const struct frame *settings) {
  int error = may_start(client);
  struct task *task = error ? NULL : malloc(sizeof *task);
  if (!error && !task) error = ENOMEM;
  if (!error) {
    task_init(task, client->monitor);
    task->terminal = setting(settings, "tty");
    task->open_stdin = setting(settings, "open-stdin");
    error = open_session(task, client);
    if (error) task_close(task), free(task);
  }
  while (client->received_count > 0) close(client->received[--client->received_count]);
  if (error) return error;
  task->client = client;
  task->next = client->monitor->sessions;
  client->monitor->sessions = task;
  client->task = task;
  client->wants = WANTS_STDOUT | WANTS_STDERR | (task->open_stdin ? WANTS_STDIN : 0);
  return 0;
}

static void tell_exit(struct task *task) {
  char bytes[128];
  struct text payload = text_on(bytes);
  task_describe_exit(task, &payload);
  tell_client(task, FRAME_EXITED, bytes, payload.used);
  remove_session(task);
}

void sessions_check(struct monitor *monitor) {
  struct task *next;
  for (struct task *task = monitor->sessions; task; task = next) {
    next = task->next;
    if (task->failed) remove_session(task);
    // A child that died before its program ran is told by the helper, with the op that failed: it may be reaped first.
    else if (task->exited && task->started && task_drained(task)) tell_exit(task);
  }
}

bool sessions_reaped(struct monitor *monitor, pid_t pid, int status) {
  for (struct task *task = monitor->sessions; task; task = task->next) {
    if (task->helper == pid) return task->helper = 0, true;
    if (task->pid != pid || task->exited) continue;
    task_ended(task, status);
    return true;
  }
  return false;
}

void sessions_kill(struct monitor *monitor) {
  for (struct task *task = monitor->sessions; task; task = task->next) {
    if (task->pidfd >= 0) sys_pidfd_send_signal(task->pidfd, SIGKILL);
  }
}
