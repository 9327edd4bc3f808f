/* prog/serve.h: the server in the foreground, for commands that bring a configuration of their own. */
#pragma once
#include "base/str.h"

struct serve_how {
    struct str lua;              /* the configuration */
    const char *name;            /* what messages call it */
    uint64_t drain_ms;           /* how long SIGTERM waits for what is under way */
    void (*on_ready)(void *arg); /* or NULL: listeners are bound and every role is ready */
    void *arg;
};
/* Until a signal ends it; returns an exit code of sysexits(3). What went wrong was said. The caller has set
 * umask. */
int serve_run(const struct serve_how *how);
