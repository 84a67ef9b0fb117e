/*
 * Enters a namespace of another process: set_ns /proc/PID/ns/net PROGRAM [ARGUMENT...]
 *
 * The program then sees that process's network interfaces, with this process's files: it is what `docker exec` and
 * `nsenter --net=FILE` do, for one namespace.
 *
 * Compile: cc -Wall -Wextra -o set_ns set_ns.c        See: setns(2), namespaces(7)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "set_ns: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: set_ns /proc/PID/ns/FILE PROGRAM [ARGUMENT...]\n");
        return 2;
    }

    /* Close-on-exec: the program must not inherit a handle on the namespace. */
    int namespace = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (namespace < 0)
        return fail(argv[1]);
    if (setns(namespace, 0) != 0) /* 0: whatever kind of namespace the file is */
        return fail("setns");

    execvp(argv[2], argv + 2);
    return fail(argv[2]);
}
