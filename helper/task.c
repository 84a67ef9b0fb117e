// The stdio of a process, from the monitor's side. Nothing here blocks: the container holds the other ends.
#include "monitor.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define READS_PER_EVENT 4

void task_init(struct task *task, struct monitor *monitor) {
  memset(task, 0, sizeof *task);
  task->monitor = monitor;
  task->pidfd = task->peer = -1;
  task->input.fd = task->output[0].fd = task->output[1].fd = task->control.fd = -1;
}

static struct loop *loop_of(struct task *task) { return &task->monitor->loop; }

static void took_output(struct task *task, unsigned number, const char *bytes, size_t count) {
  clients_deliver(task, number == 0 ? FRAME_STDOUT : FRAME_STDERR, bytes, count);
}

/** Reads once. False when there is nothing now, or no more at all. */
static bool read_output(struct task *task, unsigned number) {
  char bytes[READ_BYTES];
  struct source *source = &task->output[number];
  ssize_t count = read(source->fd, bytes, sizeof bytes);
  if (count > 0) {
    took_output(task, number, bytes, (size_t)count);
    return true;
  }
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
  loop_close(loop_of(task), source); // end of file; EIO is how a terminal says it
  return false;
}

static void pump_output(struct task *task, unsigned number) {
  for (int reads = 0; reads < READS_PER_EVENT && task->output[number].fd >= 0; reads++) {
    if (!clients_can_take(task)) {
      loop_want(loop_of(task), &task->output[number], 0);
      return;
    }
    if (!read_output(task, number)) return;
  }
}

static void stdout_ready(struct source *source, uint32_t events) {
  (void)events;
  pump_output(owner_of(source, struct task, output[0]), 0);
}

static void stderr_ready(struct source *source, uint32_t events) {
  (void)events;
  pump_output(owner_of(source, struct task, output[1]), 1);
}

static void input_ready(struct source *source, uint32_t events) {
  struct task *task = owner_of(source, struct task, input);
  loop_want(loop_of(task), source, 0);
  if (!task->terminal && (events & EPOLLERR)) task_close_input(task);
  for (struct client *client = task->monitor->clients; client; client = client->next) {
    if (client->task == task && client->stalled) client_resume(client);
  }
}

static int watch_output(struct task *task, unsigned number, int fd) {
  task->output[number].ready = number == 0 ? stdout_ready : stderr_ready;
  int error = set_nonblocking(fd);
  return error ? error : loop_add(loop_of(task), &task->output[number], fd, EPOLLIN);
}

static int make_output(struct task *task, unsigned number, int *end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return errno;
  *end = ends[1];
  return watch_output(task, number, ends[0]);
}

static int make_input(struct task *task, int *end) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return errno;
  *end = ends[0];
  task->input.ready = input_ready;
  loop_add(loop_of(task), &task->input, ends[1], 0);
  return set_nonblocking(ends[1]);
}

int task_make_pipes(struct task *task, int standard[3]) {
  int error = 0;
  if (task->open_stdin) error = make_input(task, &standard[0]);
  else standard[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (!error) error = make_output(task, 0, &standard[1]);
  if (!error) error = make_output(task, 1, &standard[2]);
  return error;
}

int task_open_null(int standard[3]) {
  for (int number = 0; number < 3; number++) {
    standard[number] = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (standard[number] < 0) return errno;
  }
  return 0;
}

int task_take_terminal(struct task *task, int master) {
  int error = set_nonblocking(master);
  task->peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (task->open_stdin && !error) {
    task->input.ready = input_ready;
    loop_add(loop_of(task), &task->input, fcntl(master, F_DUPFD_CLOEXEC, 3), 0);
  }
  return error ? error : watch_output(task, 0, master);
}

size_t task_write(struct task *task, const char *bytes, size_t count) {
  size_t done = 0;
  while (task->input.fd >= 0 && done < count) {
    ssize_t wrote = write(task->input.fd, bytes + done, count - done);
    if (wrote > 0) {
      done += (size_t)wrote;
    } else if (wrote < 0 && errno == EAGAIN) {
      loop_want(loop_of(task), &task->input, EPOLLOUT);
      return done;
    } else if (wrote == 0 || errno != EINTR) {
      task_close_input(task);
    }
  }
  return count;
}

void task_close_input(struct task *task) { loop_close(loop_of(task), &task->input); }

void task_resume(struct task *task) {
  if (!clients_can_take(task)) return;
  for (unsigned number = 0; number < 2; number++) loop_want(loop_of(task), &task->output[number], EPOLLIN);
}

void task_ended(struct task *task, int status) {
  struct text time = text_on(task->finished_at);
  task->exited = true;
  task->exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  task->exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  task->drain_until_ns = now_ns() + DRAIN_NS;
  text_add_time(&time);
  task_close_input(task);
  close_quietly(&task->peer);
}

bool task_drained(struct task *task) {
  for (unsigned number = 0; number < 2; number++) {
    while (task->output[number].fd >= 0 && read_output(task, number)) {
      // A process of the host's pid namespace may go on writing for ever.
      if (now_ns() >= task->drain_until_ns) break;
    }
  }
  return (task->output[0].fd < 0 && task->output[1].fd < 0) || now_ns() >= task->drain_until_ns;
}

void task_close(struct task *task) {
  struct loop *loop = loop_of(task);
  loop_close(loop, &task->input);
  loop_close(loop, &task->output[0]);
  loop_close(loop, &task->output[1]);
  loop_close(loop, &task->control);
  buffer_free(&task->control_bytes);
  close_quietly(&task->pidfd);
  close_quietly(&task->peer);
}

void task_describe_exit(const struct task *task, struct text *payload) {
  text_add_number_field(payload, task->exit_code);
  text_add_number_field(payload, task->exit_signal);
  text_add_number_field(payload, task->is_init && task->monitor->oom);
  text_add_field(payload, task->finished_at);
}

int task_resize(struct task *task, int64_t rows, int64_t columns) {
  struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
  if (!task->terminal || task->output[0].fd < 0) return ENOTTY;
  return ioctl(task->output[0].fd, TIOCSWINSZ, &size) < 0 ? errno : 0;
}
