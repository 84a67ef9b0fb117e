// Joining control groups without waiting for the whole machine.
// Moving a process by `cgroup.procs` waits for an RCU grace period (5 to 20 ms), since any thread might be forking meanwhile. A lone thread
// that writes `0` to a v1 group's `tasks` does not wait, and a process that is born in a group (CLONE_INTO_CGROUP) was never moved.
#pragma once

#include "base.h"

/** Whether the directory is a group of the unified hierarchy (v2), which is joined by birth alone. */
bool cgroup_is_unified(const char *directory);

/** Puts this single-threaded process into a v1 group; of a v2 group it only sees that it is there. 0, or errno with the path in `detail`. */
int cgroup_join(const char *directory, struct text *detail);

/** fork(2), with the new process in the group behind the descriptor `group`; -1: in this process's own. */
pid_t cgroup_fork(int group);
