// vitrine-helper: the mechanism under the engine. It reads a plan and executes it, op by op; it decides nothing.
//
//   plan.c       reads a plan                       run.c      the monitor's side of a plan, and the meeting points
//   ops.c        the table of ops                   child.c    the child's side, from clone to exec
//   ops-*.c      one function an op                 root.c     paths that a container can influence
//   monitor.c    one container, while it lives      client.c   connections; requests.c what they ask
//   task.c       stdio of a process                 session.c  exec sessions; exec.c their helper
//   log.c        the log file                       ending.c   the exit record and the farewell
//   relay.c      relayed ports                      netns.c    network namespaces for the daemon
//   init.c       PID 1 of containers with --init
//   frames.c     frames and buffers                 base.c     text, numbers, files without stdio
#include "base.h"
#include "exec.h"
#include "init.h"
#include "monitor.h"
#include "netns.h"

static int version_main(void) {
  static const char words[] = "vitrine-helper " PROTOCOL_VERSION " " PLAN_VERSION " " OP_SET "\n";
  return write_all(1, words, sizeof words - 1) ? 1 : 0;
}

static const struct {
  const char *name;
  int (*run)(void);
} modes[] = {
  {"monitor", monitor_main},
  {"exec", exec_main},
  {"netns", netns_main},
  {"version", version_main},
};

int main(int count, char **words) {
  static const char usage[] = "usage: vitrine-helper monitor|exec|netns|version|-- PROGRAM...\n";
  // `docker-init -- PROGRAM…`: how containers see it.
  if (count > 2 && strcmp(words[1], "--") == 0) return init_main(words + 2);
  for (size_t number = 0; count == 2 && number < countof(modes); number++) {
    if (strcmp(modes[number].name, words[1]) == 0) return modes[number].run();
  }
  write_all(2, usage, sizeof usage - 1);
  return 2;
}
