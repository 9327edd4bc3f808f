/* io/trim.h: memory that an idle process can do without. */
#pragma once
#include "io/world_io.h"

enum { TRIM_FIRST_MS = 1000, TRIM_EVERY_MS = 60 * 1000 };

/* From now on, TRIM_FIRST_MS after this call and then every TRIM_EVERY_MS: free heap goes back to the kernel,
 * and so does the code of program and libraries, of which a start touches much and the hours after it little.
 * What is used again is mapped again from the file, which the kernel has at hand as long as it has room. A
 * second call does nothing. */
struct io_trim {
    struct world *world;
    struct timer timer;
};
void io_trim_start(struct io_trim *t, struct io_world *w);
