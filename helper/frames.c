#include "frames.h"

#define LEAST_CAPACITY 1024

static bool grow(struct buffer *buffer, size_t count) {
  if (buffer->start + buffer->used + count <= buffer->capacity) return true;
  if (buffer->start > 0 && buffer->used + count <= buffer->capacity) {
    memmove(buffer->bytes, buffer->bytes + buffer->start, buffer->used);
    buffer->start = 0;
    return true;
  }
  size_t capacity = buffer->capacity ? buffer->capacity : LEAST_CAPACITY;
  while (capacity < buffer->used + count) capacity *= 2;
  char *bytes = malloc(capacity);
  if (!bytes) return false;
  if (buffer->used) memcpy(bytes, buffer->bytes + buffer->start, buffer->used);
  free(buffer->bytes);
  *buffer = (struct buffer){.bytes = bytes, .start = 0, .used = buffer->used, .capacity = capacity};
  return true;
}

bool buffer_add(struct buffer *buffer, const void *bytes, size_t count) {
  if (count == 0) return true;
  if (!grow(buffer, count)) return false;
  memcpy(buffer->bytes + buffer->start + buffer->used, bytes, count);
  buffer->used += count;
  return true;
}

void buffer_take(struct buffer *buffer, size_t count) {
  buffer->start += count;
  buffer->used -= count;
  if (buffer->used == 0) buffer_free(buffer);
}

void buffer_free(struct buffer *buffer) {
  free(buffer->bytes);
  *buffer = (struct buffer){0};
}

void frame_header(unsigned char header[FRAME_HEADER_BYTES], enum frame_type type, size_t length) {
  memset(header, 0, FRAME_HEADER_BYTES);
  header[0] = (unsigned char)type;
  for (int byte = 0; byte < 4; byte++) header[7 - byte] = (unsigned char)(length >> (8 * byte));
}

bool frame_add(struct buffer *buffer, enum frame_type type, const void *payload, size_t length) {
  unsigned char header[FRAME_HEADER_BYTES];
  frame_header(header, type, length);
  if (!grow(buffer, sizeof header + length)) return false;
  return buffer_add(buffer, header, sizeof header) && buffer_add(buffer, payload, length);
}

enum frame_state frame_peek(const struct buffer *buffer, struct frame *frame) {
  if (buffer->used < FRAME_HEADER_BYTES) return FRAME_INCOMPLETE;
  const unsigned char *header = (const unsigned char *)buffer_front(buffer);
  size_t length = (size_t)header[4] << 24 | (size_t)header[5] << 16 | (size_t)header[6] << 8 | header[7];
  if (header[1] | header[2] | header[3] || length > LIMIT_PAYLOAD_BYTES) return FRAME_BAD;
  *frame = (struct frame){header[0], length, (const char *)header + FRAME_HEADER_BYTES};
  return buffer->used < FRAME_HEADER_BYTES + length ? FRAME_INCOMPLETE : FRAME_COMPLETE;
}

const char *frame_field(const struct frame *frame, unsigned index) {
  const char *field = frame->payload, *end = frame->payload + frame->length;
  if (frame->length == 0 || end[-1] != '\0') return NULL;
  while (field < end && index-- > 0) field += strlen(field) + 1;
  return field < end ? field : NULL;
}
