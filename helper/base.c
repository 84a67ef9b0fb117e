#include "base.h"

#include <sys/syscall.h>
#include <time.h>

void text_add_bytes(struct text *text, const void *bytes, size_t count) {
  size_t room = text->size - text->used;
  if (text->size == 0) return;
  if (count + 1 > room) {
    text->cut = true;
    count = room == 0 ? 0 : room - 1;
  }
  memcpy(text->at + text->used, bytes, count);
  text->used += count;
  text->at[text->used] = '\0';
}

void text_add(struct text *text, const char *words) { text_add_bytes(text, words, strlen(words)); }

void text_add_padded(struct text *text, uint64_t number, unsigned digits) {
  char reversed[24];
  unsigned count = 0;
  do {
    reversed[count++] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  while (count < digits && count < sizeof reversed) reversed[count++] = '0';
  while (count > 0) text_add_bytes(text, &reversed[--count], 1);
}

void text_add_number(struct text *text, int64_t number) {
  if (number < 0) text_add(text, "-");
  text_add_padded(text, number < 0 ? 0 - (uint64_t)number : (uint64_t)number, 1);
}

void text_add_number_field(struct text *text, int64_t number) {
  text_add_number(text, number);
  text_add_bytes(text, "", 1);
}

void text_add_field(struct text *text, const char *words) {
  text_add(text, words);
  text_add_bytes(text, "", 1);
}

bool parse_number(const char *words, int64_t least, int64_t most, int64_t *number) {
  bool negative = *words == '-';
  uint64_t value = 0;
  const char *digit = negative ? words + 1 : words;
  if (*digit == '\0') return false;
  for (; *digit; digit++) {
    if (*digit < '0' || *digit > '9' || value > (UINT64_MAX - 9) / 10) return false;
    value = value * 10 + (uint64_t)(*digit - '0');
  }
  if (value > INT64_MAX) return false;
  *number = negative ? -(int64_t)value : (int64_t)value;
  return *number >= least && *number <= most;
}

bool parse_octal(const char *words, uint32_t most, uint32_t *number) {
  uint32_t value = 0;
  if (*words == '\0' || strlen(words) > 10) return false;
  for (; *words; words++) {
    if (*words < '0' || *words > '7') return false;
    value = value * 8 + (uint32_t)(*words - '0');
  }
  *number = value;
  return value <= most;
}

static int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  return -1;
}

bool parse_hex(const char *words, uint64_t *number) {
  if (words[0] == '0' && (words[1] == 'x' || words[1] == 'X')) words += 2;
  size_t length = strlen(words);
  if (length == 0 || length > 16) return false;
  *number = 0;
  for (; *words; words++) {
    int digit = hex_digit(*words);
    if (digit < 0) return false;
    *number = *number << 4 | (uint64_t)digit;
  }
  return true;
}

bool next_piece(const char **list, char separator, char *piece, size_t size) {
  while (**list == separator) (*list)++;
  if (**list == '\0') return false;
  const char *end = strchrnul(*list, separator);
  size_t length = (size_t)(end - *list);
  if (length >= size) return false;
  memcpy(piece, *list, length);
  piece[length] = '\0';
  *list = end;
  return true;
}

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct date {
  uint64_t year, month, day;
};

/** Gregorian date of a day since 1970-01-01; gmtime_r(3) would bring all of libc's files and locales into the binary. */
static struct date date_of(uint64_t days) {
  // Years begin in March here, so that the day that leap years add is the last one of a year.
  uint64_t since_era = days + 719468, era = since_era / 146097, day_of_era = since_era % 146097;
  uint64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  uint64_t march_based = (5 * day_of_year + 2) / 153;
  struct date date = {.day = day_of_year - (153 * march_based + 2) / 5 + 1};
  date.month = march_based < 10 ? march_based + 3 : march_based - 9;
  date.year = year_of_era + era * 400 + (date.month <= 2);
  return date;
}

void text_add_time(struct text *text) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  uint64_t seconds = (uint64_t)now.tv_sec;
  struct date date = date_of(seconds / 86400);
  text_add_padded(text, date.year, 4);
  text_add(text, "-");
  text_add_padded(text, date.month, 2);
  text_add(text, "-");
  text_add_padded(text, date.day, 2);
  text_add(text, "T");
  text_add_padded(text, seconds / 3600 % 24, 2);
  text_add(text, ":");
  text_add_padded(text, seconds / 60 % 60, 2);
  text_add(text, ":");
  text_add_padded(text, seconds % 60, 2);
  text_add(text, ".");
  text_add_padded(text, (uint64_t)now.tv_nsec, 9);
  text_add(text, "Z");
}

int write_all(int fd, const void *bytes, size_t count) {
  const char *next = bytes;
  while (count > 0) {
    ssize_t done = write(fd, next, count);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    next += done;
    count -= (size_t)done;
  }
  return 0;
}

ssize_t read_small(const char *path, char *bytes, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  size_t used = 0;
  ssize_t got = 0;
  while (used < size - 1 && (got = read(fd, bytes + used, size - 1 - used)) > 0) used += (size_t)got;
  int error = errno;
  close(fd);
  errno = error;
  if (got < 0) return -1;
  bytes[used] = '\0';
  return (ssize_t)used;
}

int write_file(const char *path, const char *words) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write(fd, words, strlen(words)) < 0 ? errno : 0;
  close(fd);
  return error;
}

void close_quietly(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

int set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? errno : 0;
}

uint64_t start_time_of(pid_t pid) {
  char path[64], stat[1024];
  struct text name = text_on(path);
  text_add(&name, "/proc/");
  text_add_number(&name, pid);
  text_add(&name, "/stat");
  if (read_small(path, stat, sizeof stat) < 0) return 0;
  // The command is in parentheses and may hold anything, so count from the last one: state is field 3.
  char *field = strrchr(stat, ')');
  for (int number = 2; field && number < 22; number++) field = strchr(field + 1, ' ');
  return field ? strtoull(field + 1, NULL, 10) : 0;
}

int sys_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

int sys_pidfd_send_signal(int pidfd, int signal) {
  return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}
