/* io/secret_file.h: files that hold secrets, and word that one of them was replaced.
 *
 * Owns:     nothing but the watch.
 * Limits:   the caller's maximum a file; a thousand folders watched.
 * Errors:   enum err.
 * Security: a file is read into one block that never moves, so that wiping it leaves nothing behind. Only
 *           regular files are read: no device or pipe makes the reader wait. Symbolic links are followed,
 * since certificates are commonly replaced by turning one; who may write the folders of such paths decides
 *           what they are.
 */
#pragma once
#include "io/world_io.h"

/* out: empty, with its maximum. ERR_TOO_BIG; ERR_INVALID: not a regular file; ERR_AGAIN: it grew meanwhile.
 * *is_open: users who are neither its owner nor of its group may read it. */
MUST_USE enum err secret_file_read(const char *path, struct buf *out, bool *is_open);

struct file_watch;
/* fn is called from the loop some time after something happened in a folder that is watched. NULL: the kernel
 * has none to give. */
MUST_USE struct file_watch *file_watch_new(struct io_world *w, void (*fn)(void *arg), void *arg);
/* Watches the folder of path, and that of the file which path leads to. */
MUST_USE enum err file_watch_add(struct file_watch *f, const char *path);
/* Watches nothing any more. */
MUST_USE enum err file_watch_clear(struct file_watch *f);
void file_watch_del(struct file_watch **f);
