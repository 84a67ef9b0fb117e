// Keeping a monitor small: there are as many as there are containers.
#pragma once

/** Once, at the start: even small blocks go back to the kernel as soon as they are free. */
void memory_tune(void);

/** After work that is not repeated soon: free memory, and code that is mapped but not needed by the loop. */
void memory_give_back(void);
