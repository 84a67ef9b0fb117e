// Runs a plan: the ops of the monitor here, those of the child in the process that `clone` makes.
#pragma once

#include "frames.h"
#include "plan.h"

#define LIMIT_DETAIL_BYTES 480
#define LIMIT_REPORTS_BYTES (8 * 1024)

enum run_state {
  RUN_WORKING,  // the child is at work: run_hear() when its channel can be read
  RUN_COMMIT,   // all is ready; run_commit() when the daemon gives leave
  RUN_STARTED,  // exec(2) has succeeded
  RUN_FAILED,   // see `failure`
};

struct run;
/** Takes one frame of a run: reports, ready, started, failed. */
typedef void run_sink(void *owner, enum frame_type type, const struct text *payload);

struct run {
  const struct plan *plan;
  run_sink *sink;
  void *owner;
  int standard[3];        // what the child gets as 0, 1, 2
  bool is_session;        // an exec session: no commit; the child belongs to the parent, and waits until `ready` was sent
  struct op_context context;
  enum run_state state;
  unsigned next;          // the op that the monitor is at
  int64_t child_at;       // the `sync` that the child waits at; -1: none
  bool leave;             // the daemon said go
  int channel;            // to the child; -1 before clone and after exec
  pid_t child;
  int pidfd;
  uint64_t start_time;
  int birth_group;        // the v2 group that the plan joins: its process is born there, which is joining without a wait; -1: none
  int terminal;           // the PTY master that came; -1: none
  int64_t exec_index;     // the child is about to execute; -1: not yet
  uint64_t exec_since;
  int failed_index, failed_errno;
  char detail[LIMIT_DETAIL_BYTES];
  char failed_detail[LIMIT_DETAIL_BYTES];
  struct text reports;
  char report_bytes[LIMIT_REPORTS_BYTES];
};

void run_init(struct run *run, const struct plan *plan);
/** The first `run_advance`. */
void run_begin(struct run *run);
/** Goes on until the child or the daemon is needed. Look at `state` afterwards. */
void run_advance(struct run *run);
/** Takes whatever the child has sent by now. Look at `state` afterwards. */
void run_hear(struct run *run);
/** Waits for one message of the child and takes it. */
void run_hear_once(struct run *run);
/** Leave to proceed past `sync commit`. */
void run_commit(struct run *run);
/** Ends a run that has not started: kills the child, waits for it when it is ours, undoes the mounts. */
void run_abandon(struct run *run);
/** Tells of the failure: index, errno, detail. */
void run_tell_failure(struct run *run);

/** The child's part. */
_Noreturn void child_run(struct run *run, int channel);
