// The child's side of a plan: from clone to exec. It is alone in here: it holds its stdio and the channel, nothing else.
#include "child.h"

#include "kernel.h"
#include "report.h"
#include "run.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct child {
  const struct plan *plan;
  struct op_context context;
  int channel;
  char detail[LIMIT_DETAIL_BYTES];
  struct {
    struct child_header header;
    char reports[LIMIT_REPORTS_BYTES];
  } message;
  struct text reports;
};

static void reset_signals(void) {
  sigset_t none;
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

/** A monitor that is gone cannot watch: the child dies with it, and one that died before this was set is noticed too. */
static void die_with_monitor(int channel) {
  char byte;
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) _exit(1);
  if (recv(channel, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) _exit(1);
}

/**
 * Who joins another's namespaces may meet its processes there: they must not trace it or read its descriptors. In a user
 * namespace of its own it must stay dumpable, or it could not open its own files in /proc.
 */
static bool must_hide(const struct plan *plan) {
  uint64_t flags = 0;
  for (unsigned index = 0; index < plan->op_count; index++) {
    const struct op *op = &plan->ops[index];
    if (op->kind->special == OP_CLONE) namespace_flags(op->arguments[0], &flags);
  }
  return !(flags & CLONE_NEWUSER);
}

static void take_standard_descriptors(struct run *run) {
  for (int standard = 0; standard < 3; standard++) {
    if (run->standard[standard] >= 0 && dup2(run->standard[standard], standard) < 0) _exit(1);
  }
}

static void close_others(int channel) {
  if (channel > 3) sys_close_range(3, (unsigned)channel - 1, 0);
  sys_close_range((unsigned)channel + 1, ~0U, 0);
}

/** Sends what was gathered as one packet. write(2), not send(2): a seccomp filter may be on by now. */
static void tell(struct child *child, enum child_word word, unsigned index, int error) {
  child->message.header = (struct child_header){.word = (char)word, .index = (int32_t)index, .error = error, .since = now_ns()};
  if (write(child->channel, &child->message, sizeof child->message.header + child->reports.used) < 0) _exit(1);
  child->reports.used = 0;
}

static void wait_for_leave(int channel) {
  char byte;
  ssize_t got;
  while ((got = read(channel, &byte, 1)) < 0 && errno == EINTR) continue;
  if (got != 1) _exit(1);
}

static void report(struct child *child, unsigned index, int error, uint64_t since) {
  if (!report_fits(&child->reports)) tell(child, CHILD_REPORTS, index, 0);
  report_add(&child->reports, index, error, now_ns() - since, child->detail);
}

static void run_child_op(struct child *child, unsigned index) {
  const struct op *op = &child->plan->ops[index];
  uint64_t since = now_ns();
  child->context.detail = text_on(child->detail);
  child->detail[0] = '\0';
  if (op->kind->special == OP_EXEC) tell(child, CHILD_EXEC, index, 0);
  int result = op->kind->run(&child->context, op->arguments, op->argument_count);
  report(child, index, result < 0 ? -result : result, since);
  if (result <= 0) return;
  tell(child, CHILD_FAILED, index, result);
  _exit(1);
}

static void run_child_ops(struct child *child) {
  bool born = false;
  for (unsigned index = 0; index < child->plan->op_count; index++) {
    const struct op *op = &child->plan->ops[index];
    if (op->kind->special == OP_CLONE) {
      born = true;
    } else if (op->kind->special == OP_SYNC && born) {
      tell(child, CHILD_SYNC, index, 0);
      wait_for_leave(child->channel);
    } else if (op->actor == ACTOR_CHILD) {
      run_child_op(child, index);
    }
  }
}

_Noreturn void child_run(struct run *run, int channel) {
  struct child child = {.plan = run->plan, .channel = channel};
  child.context = (struct op_context){
    .in_monitor = false, .init_pidfd = -1, .channel = channel, .terminal = -1, .mask_directory = -1, .own_pid_namespace = -1};
  child.reports = text_on(child.message.reports);
  reset_signals();
  die_with_monitor(channel);
  if (must_hide(run->plan)) prctl(PR_SET_DUMPABLE, 0);
  take_standard_descriptors(run);
  close_others(channel);
  umask(0);
  if (chdir("/") < 0) _exit(1);
  if (run->is_session) wait_for_leave(channel);
  run_child_ops(&child);
  _exit(1);
}
