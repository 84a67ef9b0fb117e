// What a monitor holds: its loop, the container's process, exec sessions, clients, relays.
#pragma once

#include "frames.h"
#include "log.h"
#include "loop.h"
#include "plan.h"
#include "run.h"

#define HELD_FD 5
#define LIMIT_CLIENTS 256
#define LIMIT_CLIENT_BYTES (256 * 1024)
#define LIMIT_CONTROL_BYTES (64 * 1024) // what replies may go beyond, so that a slow client can be told that it is one
#define LIMIT_LAST_BYTES (4 * 1024 * 1024)   // the same, for what a process without a log left in its pipe
#define READ_BYTES (16 * 1024)
#define DRAIN_NS (100 * 1000000ull)
#define FAREWELL_NS (600000 * 1000000ull) // what a client was not told to look for in the log is nowhere else

struct monitor;
struct client;

/** A process with stdio: the container's init, or an exec session. */
struct task {
  struct task *next;
  struct monitor *monitor;
  struct source input, output[2], control; // output[0] of a terminal carries everything; control: to an exec helper
  struct buffer control_bytes;
  struct client *client; // whose session it is; NULL for init, or when it left
  pid_t pid, helper;
  int pidfd, peer;       // peer: the slave, held open so that the master does not hang up while the process lives
  uint64_t start_time;
  bool is_init, terminal, open_stdin, started, failed, exited, told;
  int exit_code, exit_signal;
  uint64_t drain_until_ns;
  char finished_at[40];
};

enum wants { WANTS_STDIN = 1, WANTS_STDOUT = 2, WANTS_STDERR = 4 };

struct client {
  struct client *next;
  struct monitor *monitor;
  struct source source;
  struct buffer in, out;
  struct task *task;   // what 0, 1, 2 and resize concern: init, or its session
  unsigned wants;      // what it is attached to
  size_t stdin_done;   // bytes of the first frame's payload that went to stdin already
  int received[2];     // descriptors that came by SCM_RIGHTS
  unsigned received_count;
  int log_fd;          // the file that `lagging` named, held so that its inode number stays its own; else -1
  bool is_start, subscribed, stalled, closing, gone;
};

enum phase { PHASE_START, PHASE_RUNNING, PHASE_FAREWELL, PHASE_OVER };

struct monitor {
  struct loop loop;
  struct plan plan;
  struct run *run; // NULL once the container has started
  struct undo *undo;
  struct task init;
  struct task *sessions;
  struct client *clients, *start;
  unsigned client_count;
  struct source listener, signals, channel;
  struct log log;
  enum phase phase;
  uint64_t farewell_until_ns;
  int held_until;        // descriptors from HELD_FD up to this one are the container's ports
  bool oom, stdin_once;
  // Settings, kept after the plan's memory is freed.
  char *id, *socket_path, *log_path, *exit_record, *oom_control;
};

int monitor_main(void);

// task.c
void task_init(struct task *task, struct monitor *monitor);
/** Makes the pipes of a task: `standard` are the process's ends (close them after the clone). 0 or errno. */
int task_make_pipes(struct task *task, int standard[3]);
/** The process's ends when a terminal is to take their place. 0 or errno. */
int task_open_null(int standard[3]);
/** Takes a PTY master as the task's stdio; owns it from now on. 0 or errno. */
int task_take_terminal(struct task *task, int master);
/** Bytes to stdin: how many were taken, 0 when it is full. Everything is taken when nobody reads it any more. */
size_t task_write(struct task *task, const char *bytes, size_t count);
void task_close_input(struct task *task);
/** Somebody has room again: goes on reading what was paused. */
void task_resume(struct task *task);
/** The process ended with this status of waitpid(2). */
void task_ended(struct task *task, int status);
/** Reads what is left. True once there is nothing more to come, or the time for it is over. */
bool task_drained(struct task *task);
void task_close(struct task *task);
/** The payload of an `exited` frame. */
void task_describe_exit(const struct task *task, struct text *payload);
int task_resize(struct task *task, int64_t rows, int64_t columns);

// client.c
struct client *client_add(struct monitor *monitor, int fd);
/** Queues a frame. False, and the client is forgotten, when even the reserve is used up. */
bool client_send(struct client *client, enum frame_type type, const void *payload, size_t length);
void client_done(struct client *client, int error);
bool client_has_room(const struct client *client, size_t length);
void client_flush(struct client *client);
/** Goes on with frames that had to wait for stdin. */
void client_resume(struct client *client);
void client_forget(struct client *client);
/** Answers with the log's file and the offset in it. */
void client_send_position(struct client *client, enum frame_type type);
/** Output of a task to everyone who is attached to it. */
void clients_deliver(struct task *task, enum frame_type stream, const char *bytes, size_t count);
/** Whether the task's output may be read now: with a log always, else when every attached client has room. */
bool clients_can_take(const struct task *task);

// requests.c
/** Handles one whole frame. False: it must wait for stdin, and stays in the buffer. */
bool request_handle(struct client *client, const struct frame *frame);

// session.c
/** Starts an exec session from the frame's settings and the two descriptors that came with it. 0 or errno. */
int session_start(struct client *client, const struct frame *settings);
/** Hears what the helpers have said, before their processes are reaped. */
void sessions_hear(struct monitor *monitor);
/** Tells of sessions that ended and were read to their end, and forgets them. */
void sessions_check(struct monitor *monitor);
/** Whose process or helper it was. False: nobody's. */
bool sessions_reaped(struct monitor *monitor, pid_t pid, int status);
void sessions_kill(struct monitor *monitor);

// ending.c
/** Goes on with the end of the container, as far as it may; called after every turn of the loop. */
void ending_check(struct monitor *monitor);
/** The end without an exit record: the container never started. */
void ending_without_start(struct monitor *monitor);
/** How long the loop may sleep, in milliseconds; -1: for ever. */
int ending_timeout_ms(const struct monitor *monitor);

// relay.c
/** `<fd> <address> <port>`: accepts on that descriptor and copies to and from there. 0 or errno. */
int relay_add(struct loop *loop, const char *words);
