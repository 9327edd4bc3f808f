/* service/super/super.h: starts the roles, joins them by channels along the edges of ipc/rights.c, restarts
 * what dies, reloads and drains. It never reads a byte that came from the network.
 */
#pragma once
#include "config/config.h"
#include "ipc/rights.h"
#include "service/super/secrets.h"

struct super;
struct super_conf {
    uint32_t uid[ROLE_N], gid[ROLE_N]; /* UINT32_MAX: stay */
    struct secret_files files;         /* may be left out where no configuration names secrets */
    uint8_t seed[SECRETS_SEED];        /* see struct secrets_conf */
    void *arg;
    /* A certificate has come from an authority: whoever keeps the files takes it. NULL: nobody does. */
    void (*on_issued)(void *arg);
    void (*on_ready)(void *arg); /* every role is ready (once) */
    void (*on_end)(void *arg, int status,
                   struct str why); /* drained (0), or can't start or go on (status of sysexits) */
};
/* Binds the listeners and starts every role. config_bytes (config_encode) are copied; config must live until
 * the next super_reload() returns. NULL without memory; other trouble comes through on_end. */
struct super *super_new(struct world *w, const struct config *config, struct str config_bytes,
                        const struct super_conf *conf);
/* A new generation: binds new listeners, hands the configuration to all roles, starts and drains smtpd and
 * relay processes as the new numbers say. false: a listener could not be bound (named in out); the old one
 * stays in force. */
bool super_reload(struct super *s, const struct config *config, struct str config_bytes, struct buf *out);
/* SIGTERM: listening ends, sessions finish, then queue, the rest, admin. on_end comes at the latest after
 * deadline_ms. Again with a nearer deadline: that one counts; 0 ends at once. */
void super_drain(struct super *s, uint64_t deadline_ms);
void super_del(struct super **s);
