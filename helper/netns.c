// The netns helper: single-threaded, so that no thread of the daemon ever has to enter another namespace.
#include "netns.h"

#include "fd-passing.h"
#include "kernel.h"

#include <linux/if.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define REQUESTS_FD 3
#define LIMIT_REQUEST_BYTES 8192
#define LIMIT_FIELDS 8

struct request {
  const char *fields[LIMIT_FIELDS];
  unsigned count;
};

static int host_namespace = -1;

static int set_loopback_up(void) {
  struct ifreq request = {.ifr_name = "lo"};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = ioctl(fd, SIOCGIFFLAGS, &request) < 0 ? errno : 0;
  request.ifr_flags |= IFF_UP;
  if (!error && ioctl(fd, SIOCSIFFLAGS, &request) < 0) error = errno;
  close(fd);
  return error;
}

/** To be in a namespace without knowing it would be worse than to be gone. */
static void return_to_host(void) {
  if (syscall(SYS_setns, host_namespace, CLONE_NEWNET) < 0) _exit(1);
}

static int make_mount_point(const char *path) {
  int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0);
  if (fd < 0) return errno;
  close(fd);
  return 0;
}

static int create(const char *path) {
  int error = make_mount_point(path);
  if (error) return error;
  if (syscall(SYS_unshare, CLONE_NEWNET) < 0) error = errno;
  if (!error) {
    error = set_loopback_up();
    if (!error && sys_mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0) error = errno;
    return_to_host();
  }
  if (error) unlink(path);
  return error;
}

static int open_socket(const char *path, int family, int type, int protocol, int *made) {
  int namespace = open(path, O_RDONLY | O_CLOEXEC);
  if (namespace < 0) return errno;
  int error = syscall(SYS_setns, namespace, CLONE_NEWNET) < 0 ? errno : 0;
  close(namespace);
  if (error) return error;
  *made = socket(family, type | SOCK_CLOEXEC, protocol);
  error = *made < 0 ? errno : 0;
  return_to_host();
  return error;
}

static int remove_namespace(const char *path) {
  int error = sys_umount(path, UMOUNT_DETACH | UMOUNT_NO_FOLLOW) < 0 ? errno : 0;
  // Not mounted is as good: what is asked for is that it is gone.
  if (error && error != EINVAL) return error;
  return unlink(path) < 0 ? errno : 0;
}

static int handle_socket(const struct request *request, int *made) {
  int64_t family, type, protocol;
  bool well = request->count == 5 && parse_number(request->fields[2], 0, 255, &family) &&
              parse_number(request->fields[3], 0, INT32_MAX, &type) && parse_number(request->fields[4], 0, INT32_MAX, &protocol);
  return well ? open_socket(request->fields[1], (int)family, (int)type, (int)protocol, made) : EINVAL;
}

static int handle(const struct request *request, int *made) {
  const char *what = request->count ? request->fields[0] : "";
  if (strcmp(what, "create") == 0 && request->count == 2) return create(request->fields[1]);
  if (strcmp(what, "remove") == 0 && request->count == 2) return remove_namespace(request->fields[1]);
  if (strcmp(what, "socket") == 0) return handle_socket(request, made);
  return EINVAL;
}

static bool split(char *bytes, size_t size, struct request *request) {
  request->count = 0;
  if (size == 0 || bytes[size - 1] != '\0') return false;
  for (char *field = bytes; field < bytes + size; field += strlen(field) + 1) {
    if (request->count == LIMIT_FIELDS) return false;
    request->fields[request->count++] = field;
  }
  return true;
}

static bool answer(int error, int made) {
  char bytes[16];
  struct text text = text_on(bytes);
  text_add_number_field(&text, error);
  if (made < 0) return send(REQUESTS_FD, bytes, text.used, MSG_NOSIGNAL) >= 0;
  return send_with_descriptor(REQUESTS_FD, bytes, text.used, made) >= 0;
}

/** False at the end. */
static bool serve_one(void) {
  char bytes[LIMIT_REQUEST_BYTES];
  struct request request;
  int made = -1;
  ssize_t size = recv(REQUESTS_FD, bytes, sizeof bytes, 0);
  if (size < 0 && errno == EINTR) return true;
  if (size <= 0) return false;
  int error = split(bytes, (size_t)size, &request) ? handle(&request, &made) : EINVAL;
  bool answered = answer(error, made);
  close_quietly(&made);
  return answered;
}

int netns_main(void) {
  sys_close_range(REQUESTS_FD + 1, ~0U, 0);
  signal(SIGPIPE, SIG_IGN);
  host_namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (host_namespace < 0) return 1;
  while (serve_one()) continue;
  return 0;
}
