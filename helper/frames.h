// Frames of docs/flows/monitor-protocol.md, and the growing buffers they wait in.
#pragma once

#include "base.h"

enum frame_type {
  FRAME_STDIN = 0,
  FRAME_STDOUT = 1,
  FRAME_STDERR = 2,
  FRAME_HELLO = 16,
  FRAME_REPORT = 17,
  FRAME_READY = 18,
  FRAME_GO = 19,
  FRAME_STARTED = 20,
  FRAME_FAILED = 21,
  FRAME_EXITED = 22,
  FRAME_ATTACH = 23,
  FRAME_ATTACHED = 24,
  FRAME_LAGGING = 25,
  FRAME_RESIZE = 26,
  FRAME_SIGNAL = 27,
  FRAME_DONE = 28,
  FRAME_EXEC = 29,
  FRAME_SUBSCRIBE = 30,
  FRAME_TERMINAL = 32, // an exec helper to its monitor, with the PTY master by SCM_RIGHTS
};

#define FRAME_HEADER_BYTES 8
#define LIMIT_PAYLOAD_BYTES (64 * 1024)

/** Bytes that wait. Memory is taken when there is something to hold, and given back when all of it went. */
struct buffer {
  char *bytes;
  size_t start, used, capacity;
};

/** False when memory is short; nothing was added then. */
bool buffer_add(struct buffer *buffer, const void *bytes, size_t count);
void buffer_take(struct buffer *buffer, size_t count);
void buffer_free(struct buffer *buffer);
static inline const char *buffer_front(const struct buffer *buffer) { return buffer->bytes + buffer->start; }

void frame_header(unsigned char header[FRAME_HEADER_BYTES], enum frame_type type, size_t length);
bool frame_add(struct buffer *buffer, enum frame_type type, const void *payload, size_t length);

struct frame {
  unsigned char type;
  size_t length;
  const char *payload; // inside the buffer: valid until it changes
};

enum frame_state { FRAME_INCOMPLETE, FRAME_COMPLETE, FRAME_BAD };

/** Looks at the first frame of the buffer without taking it. */
enum frame_state frame_peek(const struct buffer *buffer, struct frame *frame);

/** Field number `index` of a payload of NUL-ended fields, NULL when there is none. */
const char *frame_field(const struct frame *frame, unsigned index);
