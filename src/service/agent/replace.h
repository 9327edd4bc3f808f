/* service/agent/replace.h: files of the agent's folder that are there whole or not at all: written beside,
 * flushed, renamed, and the folder flushed.
 *
 * Owns:   the file under way. One at a time for each struct replace; each needs a name of its own for what is
 * not whole yet, which the next one clears away. Errors: told to done(); what was there before stays then.
 */
#pragma once
#include "base/world.h"

enum replace_step {
    REPLACE_IDLE = 0,
    REPLACE_CLEAR,
    REPLACE_OPEN,
    REPLACE_WRITE,
    REPLACE_CLOSE,
    REPLACE_RENAME,
    REPLACE_SYNC,
};
struct replace {
    struct disk *disk;
    const char *fresh; /* the name for what is not whole yet */
    /* The file is there (or gone), or not; then another one may be begun, also in this call. */
    void (*done)(struct replace *r, enum err err);
    /* its own */
    struct disk_op op;
    enum replace_step step;
    const char *name;
    struct str octets;
    enum err failed;
};
/* Both texts must live until done(). Nothing may be under way. */
void replace_write(struct replace *r, const char *name, struct str octets);
/* That it is not there is no failure. */
void replace_remove(struct replace *r, const char *name);
static inline bool replace_is_idle(const struct replace *r)
{
    return r->step == REPLACE_IDLE;
}
