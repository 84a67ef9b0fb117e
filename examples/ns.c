/*
 * What a new mount namespace hides, and what it does not: ns CASE TARGET PROGRAM [ARGUMENT...]
 *
 *   none      a new namespace and no mount: the program sees the same files as before
 *   shared    a tmpfs on TARGET, with propagation as it was: where / is shared, the host sees the tmpfs too
 *   private   / made private, and only /: a TARGET on another shared mount below it still reaches the host
 *   rprivate  / and every mount below it made private: the host sees nothing
 *
 * Compile: cc -Wall -Wextra -o ns ns.c        See: mount_namespaces(7), clone(2), mount(2)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_BYTES = 1024 * 1024 };

struct request {
    const char *name; /* of the case */
    const char *target;
    char **program;
};

static int fail(const char *what)
{
    fprintf(stderr, "ns: %s: %s\n", what, strerror(errno));
    return EXIT_FAILURE;
}

/* Changes who is told of mounts at and below /: MS_PRIVATE, alone or with MS_REC. */
static int set_propagation(unsigned long flags)
{
    return mount("none", "/", NULL, flags, NULL);
}

/* The first process of the new namespace; what it mounts is mounted there. */
static int child(void *argument)
{
    const struct request *request = argument;

    if (strcmp(request->name, "private") == 0 && set_propagation(MS_PRIVATE) != 0)
        return fail("make / private");
    if (strcmp(request->name, "rprivate") == 0 && set_propagation(MS_PRIVATE | MS_REC) != 0)
        return fail("make every mount private");
    if (strcmp(request->name, "none") != 0 && mount("tmpfs", request->target, "tmpfs", 0, NULL) != 0)
        return fail("mount a tmpfs");

    execvp(request->program[0], request->program);
    return fail(request->program[0]);
}

static int is_case(const char *name)
{
    static const char *const cases[] = {"none", "shared", "private", "rprivate"};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(name, cases[i]) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    int status;

    if (argc < 4 || !is_case(argv[1])) {
        fprintf(stderr, "usage: ns none|shared|private|rprivate TARGET PROGRAM [ARGUMENT...]\n");
        return 2;
    }

    struct request request = {.name = argv[1], .target = argv[2], .program = argv + 3};
    char *stack = malloc(STACK_BYTES);
    if (stack == NULL)
        return fail("allocate a stack");

    /* The stack grows downwards, so the child gets its end. SIGCHLD: it can be waited for like a fork. */
    pid_t pid = clone(child, stack + STACK_BYTES, CLONE_NEWNS | SIGCHLD, &request);
    if (pid < 0)
        return fail("clone");
    if (waitpid(pid, &status, 0) < 0)
        return fail("wait");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
