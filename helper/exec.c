// The exec helper: runs the plan of a session and tells its monitor; ends when the process runs in its place.
#include "exec.h"

#include "fd-passing.h"
#include "kernel.h"
#include "run.h"
#include "session.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

static void to_monitor(void *owner, enum frame_type type, const struct text *payload) {
  unsigned char header[FRAME_HEADER_BYTES];
  (void)owner;
  frame_header(header, type, payload->used);
  if (write_all(SESSION_CONTROL_FD, header, sizeof header) || write_all(SESSION_CONTROL_FD, payload->at, payload->used)) _exit(1);
}

/** The master goes on to the monitor with the frame that speaks of it. */
static void pass_terminal(struct run *run) {
  unsigned char header[FRAME_HEADER_BYTES];
  if (run->terminal < 0) return;
  frame_header(header, FRAME_TERMINAL, 0);
  if (send_with_descriptor(SESSION_CONTROL_FD, header, sizeof header, run->terminal) < 0) _exit(1);
  close_quietly(&run->terminal);
}

static void run_session(struct run *run) {
  run_begin(run);
  while (run->state == RUN_WORKING) {
    run_hear_once(run);
    pass_terminal(run);
  }
}

int exec_main(void) {
  static struct plan plan;
  static struct run run;
  // Before anything of the container can be met: it must not trace this process or read its descriptors.
  if (prctl(PR_SET_DUMPABLE, 0) < 0) return 1;
  sys_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  signal(SIGPIPE, SIG_IGN);
  run_init(&run, &plan);
  run.sink = to_monitor;
  run.is_session = true;
  run.context.init_pidfd = SESSION_INIT_FD;
  struct text detail = text_on(run.failed_detail);
  run.failed_errno = plan_read(&plan, SESSION_PLAN_FD, &detail);
  run.failed_index = -1;
  if (run.failed_errno) run.state = RUN_FAILED;
  else run_session(&run);
  // Nothing is cleaned up on the way out: it would happen inside the container.
  if (run.state != RUN_FAILED) _exit(0);
  run_abandon(&run);
  run_tell_failure(&run);
  _exit(1);
}
