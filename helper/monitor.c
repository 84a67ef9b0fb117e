// The monitor of one container: makes it by its plan, then watches it for as long as it lives.
#include "monitor.h"

#include "cgroup.h"
#include "kernel.h"
#include "memory.h"

#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define PLAN_FD 3
#define START_FD 4
#define BACKLOG 64

static void send_hello(struct client *client) {
  char bytes[256];
  struct text payload = text_on(bytes);
  struct monitor *monitor = client->monitor;
  text_add_field(&payload, PROTOCOL_VERSION);
  text_add_field(&payload, PLAN_VERSION);
  text_add_field(&payload, OP_SET);
  text_add_field(&payload, monitor->id ? monitor->id : "");
  text_add_number_field(&payload, monitor->init.pid);
  text_add_number_field(&payload, (int64_t)monitor->log.offset);
  client_send(client, FRAME_HELLO, bytes, payload.used);
}

/** Only root and the monitor's own user: whoever connects can send signals and start processes. */
static bool is_trusted(int fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

static void listener_ready(struct source *source, uint32_t events) {
  struct monitor *monitor = owner_of(source, struct monitor, listener);
  (void)events;
  int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) return;
  struct client *client = monitor->client_count < LIMIT_CLIENTS && is_trusted(fd) ? client_add(monitor, fd) : NULL;
  if (client) send_hello(client);
  else close(fd);
}

static int listen_on(struct monitor *monitor, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return ENAMETOOLONG;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno;
  unlink(path);
  mode_t mask = umask(0177);
  bool well = bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, BACKLOG) == 0;
  int error = well ? 0 : errno;
  umask(mask);
  if (error) return close(fd), error;
  monitor->listener.ready = listener_ready;
  return loop_add(&monitor->loop, &monitor->listener, fd, EPOLLIN);
}

/** Frames of the plan's run go to whoever started it, as long as it is there. */
static void to_start_channel(void *owner, enum frame_type type, const struct text *payload) {
  struct monitor *monitor = owner;
  if (monitor->start) client_send(monitor->start, type, payload->at, payload->used);
}

/** The plan and what ran it are needed no more; a monitor is small for the rest of its life. */
static void free_run(struct monitor *monitor) {
  free(monitor->run);
  monitor->run = NULL;
  plan_free(&monitor->plan);
  memory_give_back();
}

static void container_started(struct monitor *monitor) {
  struct run *run = monitor->run;
  struct task *init = &monitor->init;
  init->pid = run->child;
  init->start_time = run->start_time;
  init->pidfd = run->pidfd;
  init->started = true;
  monitor->undo = run->context.undo;
  monitor->phase = PHASE_RUNNING;
  free_run(monitor);
}

static void container_failed(struct monitor *monitor) {
  run_abandon(monitor->run);
  run_tell_failure(monitor->run);
  free_run(monitor);
  ending_without_start(monitor);
}

/** The channel belongs to the run: it is watched while it is open. */
static void watch_channel(struct monitor *monitor) {
  struct source *channel = &monitor->channel;
  if (monitor->run->channel < 0) channel->fd = -1;
  else if (channel->fd < 0) loop_add(&monitor->loop, channel, monitor->run->channel, EPOLLIN);
}

static void take_run_terminal(struct monitor *monitor) {
  struct run *run = monitor->run;
  if (run->terminal < 0 || monitor->init.output[0].fd >= 0) return;
  int master = run->terminal;
  run->terminal = -1;
  if (monitor->init.terminal) task_take_terminal(&monitor->init, master);
  else close(master);
}

static void check_run(struct monitor *monitor) {
  if (!monitor->run) return;
  watch_channel(monitor);
  take_run_terminal(monitor);
  // The daemon died before it gave leave: nobody would know of this container.
  bool orphaned = !monitor->start && !monitor->run->leave;
  if (monitor->run->state == RUN_STARTED) container_started(monitor);
  else if (monitor->run->state == RUN_FAILED || orphaned) container_failed(monitor);
}

static void channel_ready(struct source *source, uint32_t events) {
  struct monitor *monitor = owner_of(source, struct monitor, channel);
  (void)events;
  run_hear(monitor->run);
  check_run(monitor);
}

static void reap(struct monitor *monitor) {
  pid_t pid;
  int status;
  while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
    if (pid == monitor->init.pid && !monitor->init.exited) {
      task_ended(&monitor->init, status);
      sessions_kill(monitor);
    } else {
      sessions_reaped(monitor, pid, status);
    }
  }
}

static void asked_to_end(struct monitor *monitor) {
  if (monitor->init.started && !monitor->init.exited) sys_pidfd_send_signal(monitor->init.pidfd, SIGKILL);
  else if (monitor->run) container_failed(monitor);
}

static void signals_ready(struct source *source, uint32_t events) {
  struct monitor *monitor = owner_of(source, struct monitor, signals);
  struct signalfd_siginfo signal_info;
  bool end = false;
  (void)events;
  while (read(source->fd, &signal_info, sizeof signal_info) == sizeof signal_info) end |= signal_info.ssi_signo == SIGTERM;
  // First what they said, then that they ended.
  if (monitor->run) run_hear(monitor->run), check_run(monitor);
  sessions_hear(monitor);
  reap(monitor);
  if (end) asked_to_end(monitor);
}

static int watch_signals(struct monitor *monitor) {
  sigset_t watched;
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGTERM);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  int fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) return errno;
  monitor->signals.ready = signals_ready;
  return loop_add(&monitor->loop, &monitor->signals, fd, EPOLLIN);
}

static int join_cgroups(const char *directories, struct text *detail) {
  char path[PATH_MAX];
  while (directories && next_piece(&directories, '\n', path, sizeof path)) {
    int error = cgroup_join(path, detail);
    if (error) return error;
  }
  return 0;
}

static int64_t number_setting(const struct plan *plan, const char *key) {
  const char *words = plan_setting(plan, key);
  int64_t number = 0;
  return words && parse_number(words, 0, INT64_MAX, &number) ? number : 0;
}

static char *kept_setting(const struct plan *plan, const char *key) {
  const char *words = plan_setting(plan, key);
  return words ? strdup(words) : NULL;
}

static void keep_settings(struct monitor *monitor) {
  const struct plan *plan = &monitor->plan;
  monitor->id = kept_setting(plan, "id");
  monitor->socket_path = kept_setting(plan, "socket");
  monitor->log_path = kept_setting(plan, "log-path");
  monitor->exit_record = kept_setting(plan, "exit-record");
  monitor->oom_control = kept_setting(plan, "oom-control");
  monitor->stdin_once = plan_flag(plan, "stdin-once");
  monitor->init.terminal = plan_flag(plan, "tty");
  monitor->init.open_stdin = plan_flag(plan, "open-stdin");
}

static int add_relays(struct monitor *monitor, struct text *detail) {
  const struct plan *plan = &monitor->plan;
  for (unsigned number = 0; number < plan->setting_count; number++) {
    const char *key = plan->settings[number * 2], *value = plan->settings[number * 2 + 1];
    if (strncmp(key, "relay.", 6) != 0) continue;
    int error = relay_add(&monitor->loop, value);
    if (error) return text_add(detail, key), error;
  }
  return 0;
}

static int open_log(struct monitor *monitor, struct text *detail) {
  const struct plan *plan = &monitor->plan;
  if (!monitor->log_path) return 0;
  int64_t files = number_setting(plan, "log-max-files");
  int error = log_open(&monitor->log, monitor->log_path, number_setting(plan, "log-max-size"), files ? files : 1);
  if (error) text_add(detail, "log-path");
  return error;
}

static int open_socket(struct monitor *monitor, struct text *detail) {
  int error = monitor->socket_path ? listen_on(monitor, monitor->socket_path) : EINVAL;
  if (error) text_add(detail, "socket");
  return error;
}

static int make_stdio(struct monitor *monitor, int standard[3], struct text *detail) {
  struct task *init = &monitor->init;
  int error = init->terminal ? task_open_null(standard) : task_make_pipes(init, standard);
  if (error) text_add(detail, "stdio");
  return error;
}

/** Everything between the plan's reading and its first op. 0, or errno with what it was about. */
static int prepare(struct monitor *monitor, int standard[3], struct text *detail) {
  keep_settings(monitor);
  int error = join_cgroups(plan_setting(&monitor->plan, "monitor-cgroups"), detail);
  if (!error) error = open_log(monitor, detail);
  if (!error) error = add_relays(monitor, detail);
  if (!error) error = open_socket(monitor, detail);
  if (!error) error = make_stdio(monitor, standard, detail);
  return error;
}

static void tell_failed_preparation(struct monitor *monitor, int error, const char *detail) {
  char bytes[LIMIT_DETAIL_BYTES + 32];
  struct text payload = text_on(bytes);
  text_add_number_field(&payload, -1);
  text_add_number_field(&payload, error);
  text_add_field(&payload, detail);
  if (monitor->start) client_send(monitor->start, FRAME_FAILED, bytes, payload.used);
  ending_without_start(monitor);
}

static void run_plan(struct monitor *monitor, const int standard[3]) {
  struct run *run = malloc(sizeof *run);
  if (!run) return tell_failed_preparation(monitor, ENOMEM, "memory");
  run_init(run, &monitor->plan);
  memcpy(run->standard, standard, sizeof run->standard);
  run->sink = to_start_channel;
  run->owner = monitor;
  monitor->run = run;
  run_begin(run);
  check_run(monitor);
}

/** `error` is that of reading the plan, and `detail` tells of it. */
static void begin(struct monitor *monitor, int error, struct text *detail) {
  int standard[3] = {-1, -1, -1};
  if (!error) error = prepare(monitor, standard, detail);
  monitor->start = client_add(monitor, START_FD);
  if (monitor->start) {
    monitor->start->is_start = monitor->start->subscribed = true;
    send_hello(monitor->start);
  }
  if (error) tell_failed_preparation(monitor, error, detail->at);
  else run_plan(monitor, standard);
}

/** The v2 group among those of all monitors, -1 when there is none. */
static int unified_group(const char *directories) {
  char path[PATH_MAX];
  while (directories && next_piece(&directories, '\n', path, sizeof path)) {
    if (cgroup_is_unified(path)) return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  return -1;
}

/** The first process ends at once, so that nobody has to wait for this one, which is born in `group`; init of the host or a subreaper will. */
static void leave_parent(int group) {
  pid_t middle = fork();
  if (middle < 0) _exit(1);
  if (middle > 0) {
    while (waitpid(middle, NULL, 0) < 0 && errno == EINTR) continue;
    _exit(0);
  }
  setsid();
  pid_t monitor = cgroup_fork(group);
  if (monitor != 0) _exit(monitor < 0);
  close_quietly(&group);
}

static int end_of_held(void) {
  int fd = HELD_FD;
  while (fcntl(fd, F_GETFD) >= 0) fd++;
  return fd;
}

int monitor_main(void) {
  static struct monitor monitor;
  char detail_bytes[LIMIT_DETAIL_BYTES] = "";
  struct text detail = text_on(detail_bytes);
  sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  monitor.held_until = end_of_held();
  memory_tune();
  int error = plan_read(&monitor.plan, PLAN_FD, &detail);
  close(PLAN_FD);
  leave_parent(error ? -1 : unified_group(plan_setting(&monitor.plan, "monitor-cgroups")));
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  task_init(&monitor.init, &monitor);
  monitor.init.is_init = true;
  monitor.listener.fd = monitor.signals.fd = monitor.channel.fd = monitor.log.fd = -1;
  monitor.channel.ready = channel_ready;
  if (loop_init(&monitor.loop) || watch_signals(&monitor)) _exit(1);
  begin(&monitor, error, &detail);
  for (;;) {
    check_run(&monitor);
    ending_check(&monitor);
    if (monitor.phase == PHASE_OVER) break;
    loop_turn(&monitor.loop, ending_timeout_ms(&monitor));
  }
  _exit(0);
}
