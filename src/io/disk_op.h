/* io/disk_op.h: one disk operation, done at once by the calling thread (a thread of io/disk.c). */
#pragma once
#include "base/world.h"

struct disk_file {
    struct list link; /* in the disk's files; belongs to the loop's thread */
    int fd;
};

/* Runs op below the folder root_fd and sets err, n_done and what op gives out. DISK_LOCK leaves the lock in
 * op->file. Does not call op->done. */
void disk_op_run(int root_fd, struct disk_op *op);
