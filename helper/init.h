#pragma once

/** PID 1 of a container with `--init`: runs `words` as its only child, and is it towards the outside. Answers the exit code. */
int init_main(char **words);
