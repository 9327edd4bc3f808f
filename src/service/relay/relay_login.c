/* service/relay/relay_login.c: logins at next hops. Passwords are handed over by the supervisor, kept by the
 * name of their file, and copied into the one connection that needs one, until it has said it; a user without
 * one logs in by our certificate (relay_cert.c).
 */
#include "base/mem.h"
#include "crypto/secret.h"
#include "ext/saslprep.h"
#include "service/relay/relay.h"

static struct relay_secret *find(const struct relay *r, struct str name)
{
    list_each (l, &r->secrets) {
        struct relay_secret *s = list_entry(l, struct relay_secret, link);
        if (str_eq(s->name, name))
            return s;
    }
    return NULL;
}

static void forget(struct relay_secret *s)
{
    list_remove(&s->link);
    secret_free(&s->name);
    secret_free(&s->octets);
    mem_free(s);
}

void relay_secret_set(struct relay *r, struct str name, struct str octets)
{
    struct relay_secret *old = find(r, name), *s = mem_new(struct relay_secret);
    if (s == NULL || !secret_copy(name, &s->name) || !secret_copy(secret_line(octets), &s->octets)) {
        if (s != NULL) {
            secret_free(&s->name);
            mem_free(s);
        }
        log_error(r->world->log, "relay.secret", LS("file", name), LC("why", "no memory"));
        return;
    }
    list_push_back(&r->secrets, &s->link);
    if (old == NULL)
        return;
    if (!str_eq(old->octets, s->octets))
        log_info(r->world->log, "password.changed", LS("file", name));
    forget(old);
}

static bool is_named(const struct policy_conf *p, struct str name)
{
    for (size_t i = 0; i < p->n_routes; i++) {
        if (str_eq(p->routes[i].auth.secret, name))
            return true;
    }
    return false;
}

void relay_secrets_prune(struct relay *r, bool all)
{
    list_each (l, &r->secrets) {
        struct relay_secret *s = list_entry(l, struct relay_secret, link);
        if (all || !is_named(&r->env->config->policy, s->name))
            forget(s);
    }
}

/* The other form of s, where there is one that is not the same: mem has its room. */
static struct str prepared(struct str s, struct buf *mem)
{
    bool ok = saslprep(s, SASLPREP_QUERY, mem) == SASLPREP_OK && !str_eq(buf_str(mem), s);
    return ok ? buf_str(mem) : STR_NIL;
}

/* RFC 5802 5.1. What has no such form goes as it is. false: no memory. */
static bool prepare(struct link *k)
{
    char mem[SASL_PASSWORD_MAX];
    struct buf password, user;
    buf_init_fixed(&password, mem, sizeof mem);
    buf_init_fixed(&user, k->prepared_user, sizeof k->prepared_user);
    bool ok = secret_copy(prepared(k->password, &password), &k->prepared);
    secret_wipe(mem, sizeof mem);
    k->login.scram_user = prepared(k->login.user, &user);
    k->login.scram_password = k->prepared;
    return ok;
}

void relay_login_end(struct link *k)
{
    secret_free(&k->password);
    secret_free(&k->prepared);
}

bool relay_login_fill(struct link *k, struct job *j, struct str host, uint16_t port)
{
    struct relay *r = k->relay;
    (void)str_to_c(j->user, k->user, sizeof k->user);
    k->secret_hash = str_ihash(j->secret, r->seed);
    if (j->user.n == 0)
        return true;
    if (j->secret.n == 0) { /* the certificate is all that proves it */
        k->login = (struct smtp_client_login){.user = str_from_c(k->user), .by_certificate = true};
        world_random(r->world, k->login.nonce, sizeof k->login.nonce);
        return true;
    }
    const struct relay_secret *s = find(r, j->secret);
    if (s == NULL || r->crypto == NULL || !secret_copy(s->octets, &k->password)) {
        job_note(j, SMTP_AT_AUTH, 0, ESC(4, 3, 5), k->host, STR("the password for this host is not at hand"));
        return false;
    }
    k->login = (struct smtp_client_login){
        .crypto = r->crypto,
        .user = str_from_c(k->user),
        .password = k->password,
        .host = host.n > 0 ? str_from_c(k->key) : STR_NIL,
        .port = port,
    };
    world_random(r->world, k->login.nonce, sizeof k->login.nonce);
    if (prepare(k))
        return true;
    job_note(j, SMTP_AT_AUTH, 0, ESC(4, 3, 0), k->host, STR("memory budget used up"));
    relay_login_end(k);
    return false;
}
