#pragma once

/** Makes network namespaces, and sockets inside them, for the daemon, until descriptor 3 is closed. */
int netns_main(void);
