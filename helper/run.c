#include "run.h"

#include "cgroup.h"
#include "child.h"
#include "fd-passing.h"
#include "kernel.h"
#include "report.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

void run_init(struct run *run, const struct plan *plan) {
  memset(run, 0, sizeof *run);
  run->plan = plan;
  run->channel = run->pidfd = run->terminal = run->birth_group = -1;
  run->child_at = run->exec_index = -1;
  run->standard[0] = run->standard[1] = run->standard[2] = -1;
  run->context = (struct op_context){
    .in_monitor = true, .init_pidfd = -1, .channel = -1, .terminal = -1, .mask_directory = -1, .own_pid_namespace = -1};
  run->reports = text_on(run->report_bytes);
}

static void flush_reports(struct run *run) {
  if (run->reports.used > 0) run->sink(run->owner, FRAME_REPORT, &run->reports);
  run->reports.used = 0;
}

static void report(struct run *run, unsigned index, int error, uint64_t since, const char *detail) {
  if (!report_fits(&run->reports)) flush_reports(run);
  report_add(&run->reports, index, error, now_ns() - since, detail);
}

static void fail_run(struct run *run, int index, int error, const char *detail) {
  if (run->state == RUN_FAILED) return;
  struct text kept = text_on(run->failed_detail);
  text_add(&kept, detail);
  run->failed_index = index;
  run->failed_errno = error;
  run->state = RUN_FAILED;
}

static void send_child(struct run *run) {
  // A child that died is noticed by the end of file that follows.
  send(run->channel, "g", 1, MSG_NOSIGNAL);
}

static void send_process(struct run *run, enum frame_type type) {
  char bytes[64];
  struct text payload = text_on(bytes);
  text_add_number_field(&payload, run->child);
  text_add_number_field(&payload, (int64_t)run->start_time);
  run->sink(run->owner, type, &payload);
}

/** The monitor joined another pid namespace for this clone only. */
static int return_to_own_pid_namespace(struct op_context *context) {
  if (context->own_pid_namespace < 0) return 0;
  int error = syscall(SYS_setns, context->own_pid_namespace, CLONE_NEWPID) < 0 ? fail(context, "setns", "own pid namespace") : 0;
  close_quietly(&context->own_pid_namespace);
  return error;
}

static int clone_child(struct run *run, uint64_t namespaces) {
  int ends[2], pidfd = -1, group = run->birth_group;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return fail(&run->context, "socketpair", "channel");
  struct clone_args arguments = {
    .flags = namespaces | CLONE_PIDFD | (run->is_session ? CLONE_PARENT : 0) | (group < 0 ? 0 : CLONE_INTO_CGROUP),
    .pidfd = (uintptr_t)&pidfd,
    .exit_signal = run->is_session ? 0 : SIGCHLD,
    .cgroup = group < 0 ? 0 : (uint64_t)group,
  };
  pid_t pid = sys_clone3(&arguments);
  if (pid == 0) child_run(run, ends[1]);
  int error = pid < 0 ? fail(&run->context, "clone3", "child") : 0;
  close_quietly(&run->birth_group);
  close(ends[1]);
  if (error) {
    close(ends[0]);
    return error;
  }
  run->channel = ends[0];
  run->child = run->context.child = pid;
  run->pidfd = pidfd;
  run->start_time = start_time_of(pid);
  for (int standard = 0; standard < 3; standard++) close_quietly(&run->standard[standard]);
  if (run->is_session) {
    send_process(run, FRAME_READY);
    send_child(run);
  }
  return return_to_own_pid_namespace(&run->context);
}

static int run_op(struct run *run, const struct op *op) {
  uint64_t namespaces;
  if (op->kind->special != OP_CLONE) return op->kind->run(&run->context, op->arguments, op->argument_count);
  errno = EINVAL;
  if (!namespace_flags(op->arguments[0], &namespaces)) return fail(&run->context, "unknown namespace in", op->arguments[0]);
  return clone_child(run, namespaces);
}

/** Runs the monitor's op number `next`. False when it failed. */
static bool step(struct run *run) {
  unsigned index = run->next;
  uint64_t since = now_ns();
  run->context.detail = text_on(run->detail);
  run->detail[0] = '\0';
  int result = run_op(run, &run->plan->ops[index]);
  report(run, index, result < 0 ? -result : result, since, run->detail);
  if (result > 0) fail_run(run, (int)index, result, run->detail);
  else run->next++;
  return result <= 0;
}

/** True when both are at the sync and may go on. */
static bool meet(struct run *run, const struct op *op) {
  if (run->child_at != run->next) {
    run->state = RUN_WORKING;
    return false;
  }
  if (!run->is_session && !run->leave && strcmp(op->arguments[0], "commit") == 0) {
    flush_reports(run);
    run->state = RUN_COMMIT;
    send_process(run, FRAME_READY);
    return false;
  }
  report(run, run->next, 0, now_ns(), "");
  run->child_at = -1;
  run->next++;
  send_child(run);
  return true;
}

/** Now, since no path of the host leads anywhere once the view of files has been entered. */
static void open_birth_group(struct run *run) {
  for (unsigned index = 0; index < run->plan->op_count && run->birth_group < 0; index++) {
    const struct op *op = &run->plan->ops[index];
    if (op->kind->run != op_join_cgroup || !cgroup_is_unified(op->arguments[0])) continue;
    run->birth_group = open(op->arguments[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (run->birth_group < 0) return fail_run(run, (int)index, errno, op->arguments[0]);
  }
}

void run_begin(struct run *run) {
  open_birth_group(run);
  run_advance(run);
}

void run_advance(struct run *run) {
  while (run->state != RUN_FAILED && run->next < run->plan->op_count) {
    const struct op *op = &run->plan->ops[run->next];
    if (op->kind->special == OP_SYNC) {
      if (!meet(run, op)) return;
    } else if (op->actor == ACTOR_CHILD) {
      run->next++;
    } else if (!step(run)) {
      return;
    }
  }
  if (run->state == RUN_COMMIT) run->state = RUN_WORKING;
}

void run_commit(struct run *run) {
  run->leave = true;
  if (run->state == RUN_COMMIT) run_advance(run);
}

static void child_ended(struct run *run) {
  close_quietly(&run->channel);
  if (run->state == RUN_FAILED) return;
  if (run->exec_index < 0) {
    fail_run(run, -1, ECHILD, "the process ended before its plan did");
    return;
  }
  report(run, (unsigned)run->exec_index, 0, run->exec_since, "");
  flush_reports(run);
  run->state = RUN_STARTED;
  send_process(run, FRAME_STARTED);
}

static void take_reports(struct run *run, const char *bytes, size_t count) {
  flush_reports(run);
  text_add_bytes(&run->reports, bytes, count);
}

/** The last field of the last report is the detail of what failed. */
static const char *last_field(const char *bytes, size_t count) {
  if (count < 2 || bytes[count - 1] != '\0') return "";
  size_t start = count - 1;
  while (start > 0 && bytes[start - 1] != '\0') start--;
  return bytes + start;
}

static void take_message(struct run *run, const char *message, size_t size) {
  struct child_header header;
  if (size < sizeof header) return;
  memcpy(&header, message, sizeof header);
  const char *reports = message + sizeof header;
  size_t count = size - sizeof header;
  take_reports(run, reports, count);
  if (header.word == CHILD_SYNC) run->child_at = header.index;
  if (header.word == CHILD_FAILED) fail_run(run, header.index, header.error, last_field(reports, count));
  if (header.word == CHILD_EXEC) {
    run->exec_index = header.index;
    run->exec_since = header.since;
  }
}

static void take_terminal(struct run *run, int fd) {
  close_quietly(&run->terminal);
  run->terminal = fd;
}

/** recvmsg(2) would block: the channel is a blocking one, since the child's end is. */
static bool has_message(const struct run *run) {
  char byte;
  return recv(run->channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

void run_hear_once(struct run *run) {
  char message[sizeof(struct child_header) + LIMIT_REPORTS_BYTES];
  int fd = -1;
  unsigned descriptors;
  ssize_t size = receive_with_descriptors(run->channel, message, sizeof message, &fd, 1, &descriptors);
  if (size < 0 && errno == EINTR) return;
  if (descriptors > 0) take_terminal(run, fd);
  if (size <= 0) child_ended(run);
  else take_message(run, message, (size_t)size);
  if (run->state == RUN_WORKING) run_advance(run);
}

void run_hear(struct run *run) {
  // At the commit too, since the child may be killed while it waits.
  while ((run->state == RUN_WORKING || run->state == RUN_COMMIT) && run->channel >= 0 && has_message(run)) run_hear_once(run);
}

void run_abandon(struct run *run) {
  if (run->pidfd >= 0) sys_pidfd_send_signal(run->pidfd, SIGKILL);
  if (run->child > 0 && !run->is_session) {
    while (waitpid(run->child, NULL, 0) < 0 && errno == EINTR) continue;
  }
  close_quietly(&run->channel);
  close_quietly(&run->pidfd);
  close_quietly(&run->terminal);
  close_quietly(&run->birth_group);
  undo_all(&run->context);
}

void run_tell_failure(struct run *run) {
  char bytes[LIMIT_DETAIL_BYTES + 64];
  struct text payload = text_on(bytes);
  flush_reports(run);
  text_add_number_field(&payload, run->failed_index);
  text_add_number_field(&payload, run->failed_errno);
  text_add_field(&payload, run->failed_detail);
  run->sink(run->owner, FRAME_FAILED, &payload);
}
