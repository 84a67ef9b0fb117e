// Mounting by a program that serves the file system itself (FUSE): it says that it is ready by leaving its work to a process behind it.
#include "kernel.h"
#include "ops.h"

#include <signal.h>
#include <sys/wait.h>

#define LIMIT_WORDS_BYTES 256 // of what the program says; the rest is read and dropped

static const char *const program_environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL};

/** Becomes the program, with nothing of the monitor's but a pipe for its words. */
_Noreturn static void become_program(const char *const *arguments, int words) {
  const char *program = arguments[0], *target = arguments[1], *options = arguments[2], *directory = arguments[3];
  const char *const command[] = {program, "-o", options, target, NULL};
  sigset_t none;
  sigemptyset(&none);
  int null = open("/dev/null", O_RDWR);
  if (null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 && dup2(words, 2) == 2) {
    sys_close_range(3, ~0U, 0);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!*directory || chdir(directory) == 0) execve(program, (char *const *)command, (char *const *)program_environment);
  }
  const char *why = strerror(errno);
  if (write(2, why, strlen(why)) < 0) _exit(126);
  _exit(127);
}

/** Reads until the program and whoever it left its work to have closed the pipe. */
static void read_words(int fd, struct text *words) {
  char bytes[512];
  ssize_t count;
  while ((count = read(fd, bytes, sizeof bytes)) > 0 || (count < 0 && errno == EINTR)) {
    if (count > 0) text_add_bytes(words, bytes, (size_t)count);
  }
  while (words->used > 0 && words->at[words->used - 1] == '\n') words->at[--words->used] = '\0';
}

static int await_program(struct op_context *context, pid_t pid, const char *program, const struct text *words) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return fail(context, "wait for", program);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  errno = EIO;
  int error = fail(context, "run", program);
  text_add(&context->detail, ": ");
  text_add(&context->detail, words->used > 0 ? words->at : "it said nothing");
  return error;
}

/**
 * program, target, options, working directory. The process that serves the mount becomes the monitor's child (a subreaper's), sits in
 * its group, and ends when the mount is gone; it goes on when the monitor is killed.
 */
int op_mount_program(struct op_context *context, const char *const *arguments, unsigned count) {
  char bytes[LIMIT_WORDS_BYTES] = "";
  struct text words = text_on(bytes);
  int ends[2];
  (void)count;
  if (pipe2(ends, O_CLOEXEC) < 0) return fail(context, "pipe for", arguments[0]);
  pid_t pid = fork();
  if (pid == 0) become_program(arguments, ends[1]);
  close(ends[1]);
  if (pid < 0) return close(ends[0]), fail(context, "fork for", arguments[0]);
  read_words(ends[0], &words);
  close(ends[0]);
  int error = await_program(context, pid, arguments[0], &words);
  return error ? error : undo_push(context, arguments[1]);
}
