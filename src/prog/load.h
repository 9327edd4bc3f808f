/* prog/load.h: reads the configuration in a process of its own: unprivileged, without files and network; what
 * it wants to read it asks of us. Used at start, at reload and by `check`.
 */
#pragma once
#include "config/config.h"

struct loaded {
    struct buf bytes;  /* config_encode() of it; empty when there were errors */
    struct buf errors; /* text for people, one a line */
    struct buf warnings;
    struct chunk_pool pool;
    struct arena arena;
    const struct config *config; /* decoded from bytes */
    bool is_unreadable;          /* the file itself could not be read */
};
/* path NULL: `text` is the configuration (the embedded default), name is for messages. Blocks until done
 * (bounded by the loader's instruction budget and LOAD_DEADLINE_MS). true: out->config is there.
 * loaded_fini() in any case. generation is written into it. */
bool load_config(const char *path, struct str text, const char *name, uint64_t generation,
                 struct loaded *out);
void loaded_fini(struct loaded *l);
/* Reads a whole file of at most max octets; out is initialised by the caller. */
enum err load_file(const char *path, size_t max, struct buf *out);
/* The unprivileged user that the loader and the roles become when we are root; false when the system has
 * none. */
bool load_find_user(const char *name, uint32_t *out_uid, uint32_t *out_gid);
