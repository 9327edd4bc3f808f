/* service/super/secrets.h: the supervisor's part in secrets: it reads the files, hands what they hold to the
 * keys role, and tells smtpd and relay the certificates that this has taken.
 *
 * Owns:     what is in force: chains (which are public) and marks of the files' content. No secret: what was
 *           read is wiped as soon as it was handed over, and a new keys process has it read anew.
 * Limits:   TLS_CHAIN_SIZE_MAX, PASSWORD_FILE_MAX; one secret under way at a time.
 * Errors:   a file that can't be used leaves what was in force, with one line in the log for each content. At
 *           the first start it ends the start.
 * Security: a certificate's file may hold the key as well: only its certificates go on to other roles.
 */
#pragma once
#include "config/config.h"
#include "ipc/rights.h"

/* The files that a configuration names; its memory. */
struct secret_certificate {
    struct str cert_path, key_path;
    uint8_t uses; /* KEY_USE_* */
};
struct secret_list {
    const struct secret_certificate *certificates; /* by their place in the configuration */
    size_t n_certificates;
    const struct str *password_files; /* paths, each once */
    size_t n_password_files;
    const struct str *watched; /* files of others: only that they may have changed is told */
    size_t n_watched;
};
/* How files are reached; the simulator and tests have their own. */
struct secret_files {
    void *arg;
    /* As io/secret_file.h. */
    enum err (*read)(void *arg, struct str path, struct buf *out, bool *is_open);
    /* From now on changed(changed_arg) is called when one of these may have changed. */
    void (*watch)(void *arg, const struct str *paths, size_t n, void (*changed)(void *changed_arg),
                  void *changed_arg);
};
enum { SECRETS_SEED = 32 };
struct secrets_conf {
    struct secret_files files;
    uint8_t seed[SECRETS_SEED]; /* a secret of this machine that a restart does not change */
    void *arg;
    /* Another chain is in force: secrets_tell() has something to say. */
    void (*on_certificate)(void *arg);
    /* One of the files, or of those that are only watched, may have changed, and nothing else has for a
     * while. */
    void (*on_changed)(void *arg);
    /* Once: all was looked at for the first time. why is empty, or says what can't be used. */
    void (*on_settled)(void *arg, struct str why);
};

struct secrets;
MUST_USE struct secrets *secrets_new(struct world *w, const struct secrets_conf *conf); /* NULL: no memory */
void secrets_del(struct secrets **s);
/* Of a new configuration, or the first. What stays the same stays in force. false: no memory, nothing
 * changed. */
MUST_USE bool secrets_set(struct secrets *s, const struct secret_list *list);
/* Does this configuration need a keys process at all? */
bool secrets_is_needed(const struct secrets *s);
/* Was everything looked at once? Without a secret: yes. */
bool secrets_is_settled(const struct secrets *s);
/* The keys process is ready, or gone. */
void secrets_keys_up(struct secrets *s, struct channel *keys);
void secrets_keys_down(struct secrets *s);
/* What it said about one of them; false: malformed. */
MUST_USE bool secrets_on_state(struct secrets *s, struct str payload);
/* Sends the certificates for a role that came into force since *told (0: all). false: the channel is full, go
 * on when it has room. */
MUST_USE bool secrets_tell(struct secrets *s, struct channel *c, enum role role, uint64_t *told);
