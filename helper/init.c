// The init of `--init`: passes signals on to the program, reaps whoever dies, and ends as the program ends; as tini does.
#include "init.h"

#include "base.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND 127
#define EXIT_SIGNALED 128

/** Faults of this program itself: the kernel delivers them to it, and passing them on would make no sense. */
static const int own_signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};

static void say(const char *what, const char *which, int error) {
  char bytes[512];
  struct text words = text_on(bytes);
  text_add(&words, "docker-init: ");
  text_add(&words, what);
  text_add(&words, which);
  text_add(&words, ": ");
  text_add(&words, strerror(error));
  text_add(&words, "\n");
  write_all(2, bytes, words.used);
}

/** All but faults wait in a queue, from before the program is there: none is lost. */
static void hold_signals(sigset_t *held, sigset_t *before) {
  sigfillset(held);
  for (size_t index = 0; index < countof(own_signals); index++) sigdelset(held, own_signals[index]);
  sigprocmask(SIG_SETMASK, held, before);
}

/** A group of its own in front of the terminal, so that Ctrl-C reaches the program and not this one. */
static void take_terminal(void) {
  struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
  if (setpgid(0, 0) < 0) return;
  // The kernel stops whoever takes the terminal from behind it, unless that is ignored.
  sigaction(SIGTTOU, &ignore, &before);
  if (isatty(0)) tcsetpgrp(0, getpid());
  sigaction(SIGTTOU, &before, NULL);
}

_Noreturn static void become_program(char **words, const sigset_t *mask) {
  take_terminal();
  sigprocmask(SIG_SETMASK, mask, NULL);
  execvp(words[0], words);
  int error = errno;
  say("cannot execute ", words[0], error);
  _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static int code_of(int status) { return WIFSIGNALED(status) ? EXIT_SIGNALED + WTERMSIG(status) : WEXITSTATUS(status); }

/** Takes leave of everyone who has died. True when the program is among them. */
static bool reap(pid_t program, int *code) {
  bool ended = false;
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return ended;
    if (pid != program) continue;
    *code = code_of(status);
    ended = true;
  }
}

int init_main(char **words) {
  sigset_t held, before;
  int code = 1;
  hold_signals(&held, &before);
  // With the host's pid namespace orphans would go past this program.
  if (getpid() != 1) prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  pid_t program = fork();
  if (program < 0) {
    say("cannot start ", words[0], errno);
    return 1;
  }
  if (program == 0) become_program(words, &before);
  for (;;) {
    siginfo_t what;
    int signal = sigwaitinfo(&held, &what);
    if (signal < 0) continue;
    if (signal != SIGCHLD) kill(program, signal);
    else if (reap(program, &code)) return code;
  }
}
