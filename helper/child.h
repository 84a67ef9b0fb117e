// What a child tells its monitor over their SOCK_SEQPACKET channel. Both are the same binary.
#pragma once

#include "base.h"

enum child_word {
  CHILD_REPORTS = 'R',
  CHILD_SYNC = 'S',       // waits at `sync` number index; the monitor answers with one byte
  CHILD_DESCRIPTOR = 'D', // comes with a descriptor (op_send_fd sends just this byte)
  CHILD_FAILED = 'F',     // op number index failed; the reports hold it as the last
  CHILD_EXEC = 'E',       // about to execute; end of file after it means success
};

struct child_header {
  char word;
  int32_t index, error;
  uint64_t since;
};
