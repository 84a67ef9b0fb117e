// Relays a TCP port that the kernel cannot forward by itself ([::1] to an IPv4 container): both ways, with half-close.
#include "frames.h"
#include "monitor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define LIMIT_LINKS 512
#define LIMIT_WAITING_BYTES (32 * 1024)

struct relay {
  struct source listener;
  struct loop *loop;
  struct sockaddr_storage address;
  socklen_t address_size;
  unsigned links;
};

/** One end of a relayed connection, with the bytes that wait to be written to it. */
struct side {
  struct source source;
  struct buffer out;
  bool ended, shut; // ended: it will send no more; shut: we told it that no more comes
};

struct link {
  struct relay *relay;
  struct side client, server;
  bool connecting;
};

static bool parse_address(const char *words, uint16_t port, struct relay *relay) {
  struct sockaddr_in *four = (struct sockaddr_in *)&relay->address;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)&relay->address;
  if (inet_pton(AF_INET, words, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    relay->address_size = sizeof *four;
    return true;
  }
  if (inet_pton(AF_INET6, words, &six->sin6_addr) != 1) return false;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  relay->address_size = sizeof *six;
  return true;
}

static void close_link(struct link *link) {
  struct loop *loop = link->relay->loop;
  loop_close(loop, &link->client.source);
  loop_close(loop, &link->server.source);
  buffer_free(&link->client.out);
  buffer_free(&link->server.out);
  link->relay->links--;
  loop_free(loop, link);
}

static uint32_t interest(const struct link *link, const struct side *side, const struct side *other) {
  uint32_t events = 0;
  if (link->connecting && side == &link->server) return EPOLLOUT;
  if (!side->ended && other->out.used < LIMIT_WAITING_BYTES) events |= EPOLLIN;
  if (side->out.used > 0) events |= EPOLLOUT;
  return events;
}

static bool fill(struct side *from, struct side *to) {
  char bytes[READ_BYTES];
  if (from->ended || to->out.used >= LIMIT_WAITING_BYTES) return true;
  ssize_t count = recv(from->source.fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count < 0) return errno == EAGAIN || errno == EINTR;
  if (count == 0) from->ended = true;
  return buffer_add(&to->out, bytes, (size_t)count);
}

static bool drain(struct side *to) {
  while (to->out.used > 0) {
    ssize_t count = send(to->source.fd, buffer_front(&to->out), to->out.used, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    buffer_take(&to->out, (size_t)count);
  }
  return true;
}

/** Passes an end of stream on, once everything before it went out. */
static void pass_end(struct side *from, struct side *to) {
  if (!from->ended || to->shut || to->out.used > 0) return;
  shutdown(to->source.fd, SHUT_WR);
  to->shut = true;
}

static bool finish_connecting(struct link *link) {
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(link->server.source.fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) return false;
  link->connecting = false;
  return true;
}

static void pump(struct link *link) {
  struct side *client = &link->client, *server = &link->server;
  bool well = fill(client, server);
  if (!link->connecting) well = well && fill(server, client) && drain(server) && drain(client);
  if (!well) return close_link(link);
  if (!link->connecting) pass_end(client, server), pass_end(server, client);
  if (client->shut && server->shut) return close_link(link);
  loop_want(link->relay->loop, &client->source, interest(link, client, server));
  loop_want(link->relay->loop, &server->source, interest(link, server, client));
}

static void client_side_ready(struct source *source, uint32_t events) {
  struct link *link = owner_of(source, struct link, client.source);
  if (events & EPOLLERR) close_link(link);
  else pump(link);
}

static void server_side_ready(struct source *source, uint32_t events) {
  struct link *link = owner_of(source, struct link, server.source);
  if (events & EPOLLERR || (link->connecting && !finish_connecting(link))) close_link(link);
  else pump(link);
}

static bool open_link(struct relay *relay, int client) {
  int server = socket(relay->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct link *link = calloc(1, sizeof *link);
  bool well = server >= 0 && link;
  if (well) well = connect(server, (struct sockaddr *)&relay->address, relay->address_size) == 0 || errno == EINPROGRESS;
  if (!well) {
    if (server >= 0) close(server);
    free(link);
    return false;
  }
  link->relay = relay;
  link->connecting = true;
  link->client.source.ready = client_side_ready;
  link->server.source.ready = server_side_ready;
  loop_add(relay->loop, &link->client.source, client, EPOLLIN);
  loop_add(relay->loop, &link->server.source, server, EPOLLOUT);
  relay->links++;
  return true;
}

static void listener_ready(struct source *source, uint32_t events) {
  struct relay *relay = owner_of(source, struct relay, listener);
  (void)events;
  int client = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  if (relay->links >= LIMIT_LINKS || !open_link(relay, client)) close(client);
}

int relay_add(struct loop *loop, const char *words) {
  char fd_words[16], address[64], port_words[16];
  int64_t fd, port;
  struct relay *relay = calloc(1, sizeof *relay);
  if (!relay) return ENOMEM;
  bool well = next_piece(&words, ' ', fd_words, sizeof fd_words) && next_piece(&words, ' ', address, sizeof address) &&
              next_piece(&words, ' ', port_words, sizeof port_words) && *words == '\0' &&
              parse_number(fd_words, 5, 65535, &fd) && parse_number(port_words, 1, 65535, &port) &&
              parse_address(address, (uint16_t)port, relay);
  if (!well) return free(relay), EINVAL;
  relay->loop = loop;
  relay->listener.ready = listener_ready;
  int error = set_nonblocking((int)fd);
  if (!error) error = loop_add(loop, &relay->listener, (int)fd, EPOLLIN);
  if (error) free(relay);
  return error;
}
