#include "fd-passing.h"

#include <sys/socket.h>

#define LIMIT_RECEIVED 8

ssize_t send_with_descriptor(int socket, const void *bytes, size_t count, int fd) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec piece = {.iov_base = (void *)bytes, .iov_len = count};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static void keep_descriptor(int fd, int *fds, unsigned most, unsigned *got) {
  if (*got < most) fds[(*got)++] = fd;
  else close(fd);
}

ssize_t receive_with_descriptors(int socket, void *bytes, size_t size, int *fds, unsigned most, unsigned *got) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(LIMIT_RECEIVED * sizeof(int))];
  } control;
  struct iovec piece = {.iov_base = bytes, .iov_len = size};
  struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  *got = 0;
  ssize_t count = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (count < 0) return count;
  for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    size_t descriptors = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t number = 0; number < descriptors; number++) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + number * sizeof fd, sizeof fd);
      keep_descriptor(fd, fds, most, got);
    }
  }
  return count;
}
