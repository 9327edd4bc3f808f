/* service/boot/role.h: what every role is: created when its configuration and peers are there, told of
 * changes after.
 *
 * boot.c talks to the supervisor for all roles: it collects CONFIG, PEER and LISTENER, calls create() at
 * START, enters the sandbox when the role says it is ready, and passes on what comes later. Roles have no
 * globals; the same code runs in the kernel's world and in the simulator's.
 */
#pragma once
#include "base/limits.h"
#include "config/config.h"
#include "ipc/events.h"
#include "ipc/rights.h"

struct boot;
struct role_certificate { /* what smtpd, https or relay shows; its key is in the keys role */
    bool is_there;
    uint32_t key;     /* for sign_ask */
    uint8_t uses;     /* KEY_USE_* */
    struct str name;  /* its file, as the configuration has it */
    struct str chain; /* PEM, its own first */
    char *mem;        /* of both; boot's */
};
struct role_env { /* belongs to boot; a role may keep the pointer */
    struct world *world;
    enum role role;
    unsigned index;
    const struct config *config; /* the present generation; lives until role_config_release() */
    struct channel *peers[ROLE_N][ROLE_SMTPD_MAX]; /* NULL: no such peer, or gone and not yet replaced */
    struct listener *listeners[CONFIG_LISTENERS_MAX];
    size_t n_listeners;
    /* By their place in the configuration; after a reload one may still be that of the old configuration
     * until the new one is in force: then its name differs. */
    struct role_certificate *certificates; /* n_certificates of them */
    size_t n_certificates;
    const char *root; /* --root: the role's own folder (queue: spool, admin: journal, acme: its client's), or NULL */
    /* What only this role needs from outside: lookup's struct resolver *, admin's struct journal *, agent's struct
     * http_client *, relay's struct crypto * (NULL: no logins), tables' struct table_drivers *. */
    void *ext;
    uint64_t n_events_dropped;
    struct boot *boot;
};
struct role_ops {
    /* Sets up from env. Calls role_ready() when it can work (maybe later: the queue recovers first). NULL:
     * role_fail() was called. */
    void *(*create)(struct role_env *env);
    /* A peer's channel came or was replaced (env->peers is set already; the old one was closed by boot
     * before, its user got on_closed). The role sets itself as the channel's user. */
    void (*peer)(void *self, enum role who, unsigned index, struct channel *c);
    /* A new configuration is in env->config. The old one stays valid until the role releases it. */
    void (*reload)(void *self, const struct config *old);
    /* Finish what is under way, then role_drained(). */
    void (*drain)(void *self, uint64_t deadline_ms);
    void (*del)(void *self);
    /* Or NULL: env->certificates[i] is new or has changed (those that came before create() are not told). */
    void (*certificate)(void *self, size_t i);
    /* Or NULL: what the supervisor says to this role alone (ipc/rights.c). */
    void (*from_super)(void *self, uint16_t type, struct str payload, struct handle *given);
};
/* For the roles to call. */
void role_ready(struct role_env *env);
void role_fail(struct role_env *env, struct str reason); /* can't start; the process ends */
void role_drained(struct role_env *env);                 /* all done; the process ends with exit 0 */
void role_config_release(struct role_env *env, const struct config *old);
/* Call from a channel's on_closed (after forgetting it): closes c and clears it in env->peers. The supervisor
 * sends a new one when the peer is back. */
void role_peer_closed(struct role_env *env, struct channel *c);
/* Checks that `from` may send this type to this role; false: the channel was closed by this call (the sender
 * is broken or taken over), return at once. Call it first in on_message. */
MUST_USE bool role_message_allowed(struct role_env *env, enum role from, struct channel *c, uint16_t type);
/* A decode of an allowed message failed: logs it and closes the channel. */
void role_message_malformed(struct role_env *env, enum role from, struct channel *c, uint16_t type);
/* To the supervisor; as channel_send(). */
MUST_USE enum err role_tell_super(struct role_env *env, const struct ipc_key_state *m);
/* acme's words to it: open the port for challenges; a certificate has come. As channel_send(). */
MUST_USE enum err role_ask_port(struct role_env *env, uint32_t token);
MUST_USE enum err role_tell_issued(struct role_env *env, uint16_t certificate);
/* An event for the journal; never waited for. */
void role_event(struct role_env *env, const struct ipc_event *e);

/* The roles. (deliver, the child of local, has no supervisor: see service/local/deliver.h.) */
extern const struct role_ops smtpd_role, lookup_role, queue_role, relay_role, local_role, admin_role,
    keys_role, auth_role, pam_role, agent_role, acme_role, http01_role, https_role,
    tables_role;

struct boot_hooks {
    void *arg;
    /* NULL in the simulator. Returns false when the sandbox is required and can't be had; text for people
     * into out. */
    bool (*enter_sandbox)(void *arg, struct role_env *env, struct buf *out);
    /* A configuration came, the first or by a reload: for what the process itself takes from it (the log).
     * May be NULL. */
    void (*configured)(void *arg, const struct config *c);
    void (*exit)(void *arg, int status);
};
/* super is the channel to the supervisor. */
struct boot *boot_new(struct world *w, enum role role, unsigned index, const char *root,
                      struct channel *super, const struct role_ops *ops, void *ext,
                      const struct boot_hooks *hooks);
void boot_del(struct boot **b);
