#include "service/super/secrets.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/siphash.h"
#include "crypto/secret.h"

#include <string.h>

enum {
    SETTLE_MS = 500,       /* after a change nothing else may have changed for this long, */
    SETTLE_MAX_MS = 5000,  /* or the first one is this long ago */
    LINGER_MS = 60 * 1000, /* handshakes under way still use the key before */
    WHY_MAX = 1024,
};

struct secret {
    struct list link;
    enum secret_kind kind;
    struct str path;     /* the certificate's, or that of the users */
    struct str key_path; /* of a certificate */
    uint8_t uses;
    uint16_t place;   /* in the configuration */
    uint32_t number;  /* of what is in force */
    bool is_in_force; /* chain and print are what is in force */
    bool is_held;     /* the keys process that runs now has it */
    bool is_due;      /* to be read */
    bool is_wanted;   /* by the configuration that is being set */
    bool was_refused;
    uint64_t serial; /* of the chain, for secrets_tell() */
    struct buf chain;
    unsigned char print[SIPHASH_SIZE], refused[SIPHASH_SIZE];
    bool said_open;
    char paths[]; /* memory of the texts */
};
struct retired { /* a key that another has replaced */
    struct list link;
    struct secrets *secrets;
    uint32_t number;
    struct timer timer;
};
struct secrets {
    struct world *world;
    struct secrets_conf conf;
    struct list list;
    struct channel *keys; /* NULL: there is none */
    struct list retired;
    uint32_t last_number;
    uint64_t last_serial;
    unsigned char print_key[SIPHASH_KEY];
    struct {                   /* under way to the keys process */
        struct secret *secret; /* NULL: nothing is, or nobody wants it any more */
        bool is_open;
        enum secret_kind kind;
        uint32_t number;
        struct buf chain;
        unsigned char print[SIPHASH_SIZE];
    } asked;
    bool is_settled;
    struct timer settle;
    uint64_t changed_ms;
    char why_mem[WHY_MAX]; /* what can't be used, the first of it */
    struct buf why;
};

static void pump(struct secrets *s);

/* ---- texts ----------------------------------------------------------------------------------- */

static const char *what_is(const struct secret *x)
{
    return x->kind == SECRET_KEY ? "certificate" : "passwords";
}

/* A new keys process could not be given what the one before had: a certificate that nobody signs for would
 * fail every handshake. The roles hear that it is gone, by an empty chain. */
static void lose(struct secrets *s, struct secret *x)
{
    x->is_in_force = false;
    buf_reset(&x->chain);
    x->serial = ++s->last_serial;
    s->conf.on_certificate(s->conf.arg);
}

/* One line for people; before the first settling it is also why the start ends. */
static void refuse(struct secrets *s, struct secret *x, struct str path, struct str why)
{
    log_error(s->world->log, "secret.refused", LC("what", what_is(x)), LS("file", path), LS("why", why),
              LC("kept", x->is_in_force && x->is_held ? "the one in force" : "none"));
    if (!s->is_settled && s->why.n == 0)
        (void)buf_printf(&s->why, "%.*s: %.*s", STR_FMT(path), STR_FMT(why));
    if (x->kind == SECRET_KEY && x->is_in_force && !x->is_held)
        lose(s, x);
}

static void warn_if_open(struct secrets *s, struct secret *x, struct str path, bool is_open)
{
    if (is_open && !x->said_open)
        log_warn(s->world->log, "secret.open", LS("file", path),
                 LC("why", "all users of this machine can read it: take that right from them (chmod o-r)"));
    x->said_open = is_open;
}

/* Certificates alone, whatever else is in the file. */
static void chain_of(struct str pem, struct buf *out)
{
    static const struct str begin = STR_INIT("-----BEGIN CERTIFICATE-----");
    static const struct str end = STR_INIT("-----END CERTIFICATE-----");
    for (;;) {
        size_t from = str_find(pem, begin);
        if (from == STR_NPOS)
            return;
        pem = str_skip(pem, from);
        size_t to = str_find(pem, end);
        if (to == STR_NPOS) { /* cut off: for the keys role to say so */
            (void)buf_put(out, begin);
            (void)buf_putc(out, '\n');
            return;
        }
        (void)buf_put(out, str_slice(pem, 0, to + end.n));
        (void)buf_putc(out, '\n');
        pem = str_skip(pem, to + end.n);
    }
}

static void print_of(const struct secrets *s, struct str a, struct str b, unsigned char out[SIPHASH_SIZE])
{
    unsigned char both[2 * SIPHASH_SIZE];
    siphash(s->print_key, a, both);
    siphash(s->print_key, b, both + SIPHASH_SIZE);
    siphash(s->print_key, str_of(both, sizeof both), out);
}

/* ---- to the keys process --------------------------------------------------------------------- */

static void forget_number(struct secrets *s, enum secret_kind kind, uint32_t number)
{
    struct ipc_sup_forget m = {(uint8_t)kind, number};
    if (s->keys != NULL && ipc_send_sup_forget(s->keys, &m, NULL) == ERR_AGAIN)
        log_warn(s->world->log, "secret.unforgotten",
                 LU("number", number)); /* it holds one more than needed */
}

static void retired_del(struct retired *r)
{
    world_timer_cancel(r->secrets->world, &r->timer);
    list_remove(&r->link);
    mem_free(r);
}

static void on_linger(struct timer *t)
{
    struct retired *r = container_of(t, struct retired, timer);
    forget_number(r->secrets, SECRET_KEY, r->number);
    retired_del(r);
}

static void retire(struct secrets *s, uint32_t number)
{
    struct retired *r = mem_new(struct retired);
    if (r == NULL) {
        forget_number(s, SECRET_KEY, number);
        return;
    }
    *r = (struct retired){.secrets = s, .number = number, .timer = {.fire = on_linger}};
    list_init(&r->link);
    list_push_back(&s->retired, &r->link);
    world_timer_set(s->world, &r->timer, world_now_ms(s->world) + LINGER_MS);
}

/* Hands over; what was read is the caller's to wipe. */
static bool hand_over(struct secrets *s, struct secret *x, uint32_t number, struct str secret)
{
    struct handle *blob = handle_of_blob(s->world, secret);
    if (blob == NULL)
        return false;
    enum err e;
    if (x->kind == SECRET_KEY) {
        struct ipc_sup_key m = {number, x->uses, x->path, buf_str(&s->asked.chain)};
        e = ipc_send_sup_key(s->keys, &m, blob);
    } else {
        struct ipc_sup_users m = {number, x->path, str_of(s->conf.seed, sizeof s->conf.seed)};
        e = ipc_send_sup_users(s->keys, &m, blob);
    }
    if (e == ERR_OK)
        return true;
    handle_drop(blob);
    return false;
}

/* true: it is under way. false: it is as it was, was refused before, or can't be read (which was said). */
static bool offer(struct secrets *s, struct secret *x, struct str secret, bool is_open)
{
    unsigned char print[SIPHASH_SIZE];
    print_of(s, buf_str(&s->asked.chain), secret, print);
    bool is_same = x->is_in_force && memcmp(print, x->print, sizeof print) == 0;
    warn_if_open(s, x, x->kind == SECRET_KEY ? x->key_path : x->path, is_open);
    if ((is_same && x->is_held) || (x->was_refused && memcmp(print, x->refused, sizeof print) == 0))
        return false;
    /* of users one number is for the file, of certificates for the content */
    uint32_t number = is_same || (x->kind == SECRET_USERS && x->number != 0) ? x->number : ++s->last_number;
    if (x->kind == SECRET_USERS)
        x->number = number;
    if (!hand_over(s, x, number, secret)) {
        refuse(s, x, x->path, STR("could not be handed to the keys process (no memory?)"));
        return false;
    }
    s->asked.secret = x;
    s->asked.is_open = true;
    s->asked.kind = x->kind;
    s->asked.number = number;
    memcpy(s->asked.print, print, sizeof print);
    return true;
}

static bool read_file(struct secrets *s, struct secret *x, struct str path, struct buf *out, bool *is_open)
{
    char mem[128];
    struct buf why;
    enum err e = s->conf.files.read(s->conf.files.arg, path, out, is_open);
    if (e == ERR_OK)
        return true;
    buf_init_fixed(&why, mem, sizeof mem);
    buf_printf(&why, "can't read it: %s", config_file_problem(e));
    /* the same trouble once; a content refused before may be told again when it is back */
    unsigned char print[SIPHASH_SIZE];
    print_of(s, path, buf_str(&why), print);
    if (!x->was_refused || memcmp(print, x->refused, sizeof print) != 0)
        refuse(s, x, path, buf_str(&why));
    x->was_refused = true;
    memcpy(x->refused, print, sizeof print);
    return false;
}

static bool read_and_offer(struct secrets *s, struct secret *x)
{
    struct buf file;
    bool is_open, ok;
    buf_reset(&s->asked.chain);
    if (x->kind == SECRET_KEY) {
        buf_init(&file, TLS_CHAIN_SIZE_MAX + 1);
        ok = read_file(s, x, x->path, &file, &is_open);
        if (ok)
            chain_of(buf_str(&file), &s->asked.chain);
        secret_wipe_buf(&file); /* it may have the key in it, too */
        buf_fini(&file);
        if (!ok)
            return false;
    }
    buf_init(&file, (x->kind == SECRET_KEY ? TLS_CHAIN_SIZE_MAX : PASSWORD_FILE_MAX) + 1);
    ok = read_file(s, x, x->kind == SECRET_KEY ? x->key_path : x->path, &file, &is_open) &&
         offer(s, x, buf_str(&file), is_open);
    secret_wipe_buf(&file);
    buf_fini(&file);
    return ok;
}

static void settle(struct secrets *s)
{
    if (s->is_settled)
        return;
    s->is_settled = true;
    s->conf.on_settled(s->conf.arg, buf_str(&s->why));
}

/* The next one, unless one is under way. */
static void pump(struct secrets *s)
{
    if (s->keys == NULL || s->asked.is_open)
        return;
    list_each (l, &s->list) {
        struct secret *x = list_entry(l, struct secret, link);
        if (!x->is_due)
            continue;
        x->is_due = false;
        if (read_and_offer(s, x))
            return;
    }
    settle(s);
}

/* ---- from the keys process ------------------------------------------------------------------- */

static void take(struct secrets *s, struct secret *x, const struct ipc_key_state *m)
{
    bool is_new = !x->is_in_force || memcmp(x->print, s->asked.print, sizeof x->print) != 0;
    if (x->kind == SECRET_KEY && is_new && x->is_in_force)
        retire(s, x->number);
    x->number = m->number;
    x->is_in_force = x->is_held = true;
    x->was_refused = false;
    memcpy(x->print, s->asked.print, sizeof x->print);
    if (m->why.n > 0)
        log_warn(s->world->log, "secret.doubtful", LC("what", what_is(x)), LS("file", x->path),
                 LS("why", m->why));
    if (!is_new)
        return;
    if (x->kind == SECRET_USERS) {
        log_info(s->world->log, "passwords.loaded", LS("file", x->path), LU("users", m->n));
        return;
    }
    struct buf old = x->chain;
    x->chain = s->asked.chain;
    s->asked.chain = old;
    x->serial = ++s->last_serial;
    log_info(s->world->log, "certificate.loaded", LS("file", x->path), LU("key", m->number));
    s->conf.on_certificate(s->conf.arg);
}

bool secrets_on_state(struct secrets *s, struct str payload)
{
    struct ipc_key_state m;
    if (!ipc_decode_key_state(payload, &m) || !s->asked.is_open || m.kind != s->asked.kind ||
        m.number != s->asked.number)
        return false;
    struct secret *x = s->asked.secret;
    s->asked.is_open = false;
    s->asked.secret = NULL;
    if (x == NULL) { /* the configuration has changed meanwhile */
        forget_number(s, (enum secret_kind)m.kind, m.number);
    } else if (m.err == ERR_OK) {
        take(s, x, &m);
    } else {
        x->was_refused = true;
        memcpy(x->refused, s->asked.print, sizeof x->refused);
        refuse(s, x, x->path, m.why);
    }
    pump(s);
    return true;
}

void secrets_keys_up(struct secrets *s, struct channel *keys)
{
    s->keys = keys;
    list_each (l, &s->list) {
        struct secret *x = list_entry(l, struct secret, link);
        x->is_due = true;
        x->is_held = x->was_refused = false;
    }
    pump(s);
}

void secrets_keys_down(struct secrets *s)
{
    s->keys = NULL;
    s->asked.is_open = false;
    s->asked.secret = NULL;
    list_each (l, &s->retired)
        retired_del(list_entry(l, struct retired, link));
}

/* ---- files that change ----------------------------------------------------------------------- */

static void on_settle(struct timer *t)
{
    struct secrets *s = container_of(t, struct secrets, settle);
    s->changed_ms = 0;
    list_each (l, &s->list)
        list_entry(l, struct secret, link)->is_due = true;
    pump(s);
    s->conf.on_changed(s->conf.arg);
}

static void on_changed(void *arg)
{
    struct secrets *s = arg;
    uint64_t now = world_now_ms(s->world), due = now + SETTLE_MS;
    if (s->changed_ms == 0)
        s->changed_ms = now;
    if (due > s->changed_ms + SETTLE_MAX_MS)
        due = s->changed_ms + SETTLE_MAX_MS;
    world_timer_set(s->world, &s->settle, due);
}

static bool watch(struct secrets *s, const struct str *others, size_t n_others)
{
    size_t n = n_others;
    if (s->conf.files.watch == NULL)
        return list_is_empty(&s->list);
    list_each (l, &s->list)
        n += 2;
    struct str *paths = mem_alloc_array(n + 1, sizeof *paths);
    if (paths == NULL)
        return false;
    n = 0;
    list_each (l, &s->list) {
        const struct secret *x = list_entry(l, struct secret, link);
        paths[n++] = x->path;
        if (x->kind == SECRET_KEY)
            paths[n++] = x->key_path;
    }
    for (size_t i = 0; i < n_others; i++)
        paths[n++] = others[i];
    s->conf.files.watch(s->conf.files.arg, paths, n, on_changed, s);
    mem_free(paths);
    return true;
}

/* ---- of the configuration -------------------------------------------------------------------- */

static void secret_del(struct secrets *s, struct secret *x)
{
    if (s->asked.secret == x)
        s->asked.secret = NULL;
    list_remove(&x->link);
    buf_fini(&x->chain);
    mem_free(x);
}

static struct secret *find(struct secrets *s, enum secret_kind kind, struct str path, struct str key_path,
                           uint8_t uses)
{
    list_each (l, &s->list) {
        struct secret *x = list_entry(l, struct secret, link);
        if (!x->is_wanted && x->kind == kind && str_eq(x->path, path) && str_eq(x->key_path, key_path) &&
            x->uses == uses)
            return x;
    }
    return NULL;
}

static struct secret *secret_new(enum secret_kind kind, struct str path, struct str key_path, uint8_t uses)
{
    struct secret *x = mem_alloc(sizeof *x + path.n + key_path.n);
    if (x == NULL)
        return NULL;
    *x = (struct secret){.kind = kind, .uses = uses, .is_due = true};
    if (path.n > 0)
        memcpy(x->paths, path.p, path.n);
    if (key_path.n > 0)
        memcpy(x->paths + path.n, key_path.p, key_path.n);
    x->path = str_of(x->paths, path.n);
    x->key_path = str_of(x->paths + path.n, key_path.n);
    buf_init(&x->chain, 2 * TLS_CHAIN_SIZE_MAX);
    list_init(&x->link);
    return x;
}

/* Into `out`: those that stay are moved there from the list, the others are made. */
static bool want(struct secrets *s, struct list *out, enum secret_kind kind, struct str path,
                 const struct secret_certificate *c, size_t place)
{
    struct str key_path = c == NULL ? STR_NIL : c->key_path;
    uint8_t uses = c == NULL ? 0 : c->uses;
    struct secret *x = find(s, kind, path, key_path, uses);
    if (x == NULL && (x = secret_new(kind, path, key_path, uses)) == NULL)
        return false;
    list_remove(&x->link);
    list_push_back(out, &x->link);
    if (x->place != place && x->is_in_force)
        x->serial = ++s->last_serial;
    x->place = (uint16_t)place;
    x->is_wanted = true;
    x->is_due = true; /* who asks for a reload wants the files looked at */
    return true;
}

bool secrets_set(struct secrets *s, const struct secret_list *c)
{
    struct list wanted;
    bool ok =
        c->n_certificates <= CONFIG_CERTIFICATES_MAX && c->n_password_files <= CONFIG_PASSWORD_FILES_MAX;
    list_init(&wanted);
    for (size_t i = 0; i < c->n_certificates && ok; i++)
        ok = want(s, &wanted, SECRET_KEY, c->certificates[i].cert_path, &c->certificates[i], i);
    for (size_t i = 0; i < c->n_password_files && ok; i++)
        ok = want(s, &wanted, SECRET_USERS, c->password_files[i], NULL, i);
    list_each (l, &s->list) {
        struct secret *x = list_entry(l, struct secret, link);
        if (!ok) { /* all stay */
            list_remove(l);
            list_push_back(&wanted, l);
            continue;
        }
        if (x->is_in_force && x->kind == SECRET_KEY)
            retire(s, x->number);
        else if (x->number != 0)
            forget_number(s, x->kind, x->number);
        secret_del(s, x);
    }
    list_each (l, &wanted) {
        list_remove(l);
        list_push_back(&s->list, l);
        list_entry(l, struct secret, link)->is_wanted = false;
    }
    ok = watch(s, c->watched, c->n_watched) && ok;
    if (list_is_empty(&s->list))
        s->is_settled = true;
    if (s->last_serial > 0)
        s->conf.on_certificate(s->conf.arg);
    pump(s);
    return ok;
}

bool secrets_is_needed(const struct secrets *s)
{
    return !list_is_empty(&s->list);
}

bool secrets_is_settled(const struct secrets *s)
{
    return s->is_settled;
}

bool secrets_tell(struct secrets *s, struct channel *c, enum role role, uint64_t *told)
{
    uint8_t use = role == ROLE_SMTPD || role == ROLE_HTTPS ? KEY_USE_SERVER
                  : role == ROLE_RELAY                     ? KEY_USE_CLIENT
                                                           : 0;
    for (;;) {
        const struct secret *next = NULL;
        list_each (l, &s->list) {
            const struct secret *x = list_entry(l, struct secret, link);
            if (x->kind == SECRET_KEY && (x->uses & use) != 0 && x->serial > *told &&
                (next == NULL || x->serial < next->serial))
                next = x;
        }
        if (next == NULL)
            return true;
        struct handle *chain = handle_of_blob(s->world, buf_str(&next->chain));
        if (chain == NULL)
            return false;
        struct ipc_sup_cert m = {next->place, next->number, next->uses, next->path};
        enum err e = ipc_send_sup_cert(c, &m, chain);
        if (e != ERR_OK)
            handle_drop(chain);
        if (e == ERR_AGAIN)
            return false;
        *told = next->serial;
    }
}

struct secrets *secrets_new(struct world *w, const struct secrets_conf *conf)
{
    struct secrets *s = mem_new(struct secrets);
    if (s == NULL)
        return NULL;
    *s = (struct secrets){.world = w, .conf = *conf, .settle = {.fire = on_settle}};
    list_init(&s->list);
    list_init(&s->retired);
    buf_init(&s->asked.chain, 2 * TLS_CHAIN_SIZE_MAX);
    buf_init_fixed(&s->why, s->why_mem, sizeof s->why_mem);
    world_random(w, s->print_key, sizeof s->print_key);
    return s;
}

void secrets_del(struct secrets **sp)
{
    struct secrets *s = *sp;
    if (s == NULL)
        return;
    world_timer_cancel(s->world, &s->settle);
    list_each (l, &s->retired)
        retired_del(list_entry(l, struct retired, link));
    list_each (l, &s->list)
        secret_del(s, list_entry(l, struct secret, link));
    buf_fini(&s->asked.chain);
    secret_wipe(s, sizeof *s);
    mem_free(s);
    *sp = NULL;
}
