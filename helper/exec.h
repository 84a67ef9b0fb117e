#pragma once

/** Enters a container and becomes a process of it; started by a monitor. */
int exec_main(void);
