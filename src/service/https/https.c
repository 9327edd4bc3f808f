/* service/https/https.c: the role at port 443: it serves the policies of MTA-STS of our domains, and shows an
 * authority of certificates that names lead here (TLS-ALPN-01).
 *
 * Owns:     the listeners that the supervisor opened, visits, the context of new handshakes (older ones keep
 * theirs), pages, proofs. Limits:   HTTPS_VISITS_MAX connections, of HTTPS_VISIT_MS and one request each; the
 * oldest goes when another comes. TLS_PROOFS_MAX proofs. Errors:   without a certificate in force, or while
 * there is no keys role, nobody is served. A bad new certificate leaves the old ones in force. Without acme
 * its proofs are forgotten. Security: whoever can reach the port talks to this process: it may accept, and
 * nothing else (docs/privsep.md). It has no private key but those of proofs, which are in no certificate that
 * anybody trusts; what it serves is public. Proofs are made for names that the configuration has for
 * certificates, whatever acme says. RFC 8461 3.3, 8737; what is said is proto/sts_server.h.
 */
#include "service/https/https.h"

#include "base/mem.h"

#include <string.h>

/* ---- certificates ---------------- */

/* What is in force of the configuration's certificates; returns how many. */
static size_t list_certificates(const struct https *r, struct tls_certificate *list)
{
    const struct config *c = r->env->config;
    size_t n = 0;
    for (size_t i = 0; i < c->n_certificates && i < r->env->n_certificates; i++) {
        const struct role_certificate *have = &r->env->certificates[i];
        if (have->is_there && (have->uses & KEY_USE_SERVER) != 0 &&
            str_eq(have->name, c->certificates[i].cert))
            list[n++] = (struct tls_certificate){.chain = have->chain, .key = have->key};
    }
    return n;
}

/* A policy that nobody can get is none. */
static void tell_uncovered(const struct https *r)
{
    size_t n = 0;
    for (size_t i = 0; r->tls != NULL && i < r->pages.n && n < HTTPS_UNCOVERED_SHOWN; i++) {
        char mem[DNS_NAME_MAX + 16];
        struct buf host;
        buf_init_fixed(&host, mem, sizeof mem);
        mta_sts_policy_host(r->pages.list[i].domain, &host);
        if (tls_context_is_for(r->tls, buf_str(&host)))
            continue;
        log_warn(
            r->world->log, "https.no_certificate", LS("name", buf_str(&host)),
            LC("why", "none of the certificates is for this name: nobody can get its policy of MTA-STS"));
        n++;
    }
}

static void tell(struct https *r, struct str name)
{
    struct ipc_alpn_serving m = {.name = name};
    if (r->acme != NULL && ipc_send_alpn_serving(r->acme, &m, NULL) == ERR_AGAIN)
        log_error(r->world->log, "https.untold", LC("to", "acme")); /* its program is out of time some day */
}

/* What is new of them, or all for a new context. */
static void show_proofs(struct https *r, size_t from)
{
    for (size_t i = from; r->tls != NULL && i < r->n_proofs; i++) {
        const struct https_proof *p = &r->proofs[i];
        enum err e = tls_context_prove(r->tls, str_of(p->name, p->n_name), p->digest);
        if (e != ERR_OK) {
            log_error(r->world->log, "https.unproven", LS("name", str_of(p->name, p->n_name)), LERR(e));
        } else if (i >= r->n_told) {
            tell(r, str_of(p->name, p->n_name));
            r->n_told = i + 1;
        }
    }
}

static void renew(struct https *r)
{
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    size_t n_max = r->env->config->n_certificates;
    struct tls_certificate *list = n_max == 0 ? NULL : mem_alloc_array(n_max, sizeof *list);
    size_t n = list == NULL ? 0 : list_certificates(r, list);
    struct tls_server_conf conf = {.certificates = list, .n_certificates = n, .alpn = STR("http/1.1")};
    if (n > 0)
        signer_set(&r->signer);
    struct tls_context *fresh = n == 0 ? NULL : world_tls_server(r->world, &conf, &why);
    mem_free(list);
    if (n > 0 && fresh == NULL) {
        log_error(r->world->log, "https.bad_certificate", LS("why", buf_str(&why)));
        return;
    }
    tls_context_release(&r->tls);
    r->tls = fresh;
    show_proofs(r, 0);
    tell_uncovered(r);
}

static void on_renew(struct timer *t)
{
    renew(container_of(t, struct https, renew));
}

/* ---- acme ---------------- */

static void forget(struct https *r)
{
    r->n_proofs = r->n_told = 0;
    if (r->tls != NULL)
        tls_context_prove_none(r->tls);
}

/* Is it a name that the configuration wants a certificate for? */
static bool is_wanted(const struct https *r, struct str name)
{
    const struct config *c = r->env->config;
    for (size_t i = 0; i < c->n_certificates; i++) {
        for (size_t k = 0; k < c->certificates[i].n_names; k++) {
            if (str_ieq(c->certificates[i].names[k], name))
                return true;
        }
    }
    return false;
}

/* false: malformed. */
static bool take(struct https *r, const struct ipc_alpn_serve *m)
{
    if (m->name.n > DNS_NAME_MAX || m->digest.n != HTTPS_DIGEST || r->n_proofs == TLS_PROOFS_MAX)
        return false;
    if (!is_wanted(r, m->name)) { /* acme may have another configuration already, and asks again some day */
        log_error(r->world->log, "https.unwanted", LS("name", m->name));
        return true;
    }
    struct https_proof *p = &r->proofs[r->n_proofs++];
    *p = (struct https_proof){.n_name = m->name.n};
    memcpy(p->name, m->name.p, m->name.n);
    memcpy(p->digest, m->digest.p, HTTPS_DIGEST);
    show_proofs(r, r->n_proofs - 1);
    return true;
}

static void on_acme(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct https *r = arg;
    struct ipc_alpn_serve m;
    UNUSED(given);
    if (!role_message_allowed(r->env, ROLE_ACME, c, type)) {
        r->acme = NULL;
        forget(r);
    } else if (!ipc_decode_alpn_serve(payload, &m) || (m.name.n > 0 && !take(r, &m))) {
        r->acme = NULL;
        role_message_malformed(r->env, ROLE_ACME, c, type);
        forget(r);
    } else if (m.name.n == 0) {
        forget(r);
        tell(r, STR_NIL);
    }
}

static void on_room(void *arg, struct channel *c)
{
    UNUSED(arg);
    UNUSED(c);
}

static void acme_closed(void *arg, struct channel *c)
{
    struct https *r = arg;
    r->acme = NULL;
    role_peer_closed(r->env, c);
    forget(r);
}

static const struct channel_user acme_user = {on_acme, on_room, acme_closed};

/* ---- keys ---------------- */

static void on_keys(void *arg, struct channel *c, uint16_t type, struct str payload, struct handle *given)
{
    struct https *r = arg;
    struct ipc_sign_answer m;
    UNUSED(given);
    bool is_allowed = role_message_allowed(r->env, ROLE_KEYS, c, type);
    if (is_allowed && ipc_decode_sign_answer(payload, &m)) {
        signer_on_answer(&r->signer, &m);
        return;
    }
    if (is_allowed)
        role_message_malformed(r->env, ROLE_KEYS, c, type);
    signer_keys_lost(&r->signer);
}

static void keys_closed(void *arg, struct channel *c)
{
    struct https *r = arg;
    role_peer_closed(r->env, c);
    signer_keys_lost(&r->signer);
}

static const struct channel_user keys_user = {on_keys, on_room, keys_closed};

/* ---- the role ---------------- */

static void on_accept(void *arg, struct listener *l, struct conn *c)
{
    UNUSED(l);
    visit_start(arg, c);
}

static const struct listener_user listener_user = {on_accept};

static void set_listeners(struct https *r, bool on)
{
    for (size_t i = 0; i < r->env->n_listeners; i++) {
        struct listener *l = r->env->listeners[i];
        if (l == NULL)
            continue;
        if (i >= r->env->config->n_https_addrs) { /* no longer in the configuration */
            listener_close(l);
            r->env->listeners[i] = NULL;
            continue;
        }
        listener_set_user(l, on ? &listener_user : NULL, r);
    }
}

static void https_peer(void *self, enum role who, unsigned index, struct channel *c)
{
    struct https *r = self;
    UNUSED(index);
    if (who == ROLE_KEYS) {
        r->keys = c;
        channel_set_user(c, &keys_user, r);
    } else if (who == ROLE_ACME) {
        r->acme = c;
        channel_set_user(c, &acme_user, r);
    }
}

static void *https_create(struct role_env *env)
{
    static const enum role asked[] = {ROLE_KEYS, ROLE_ACME};
    struct https *r = mem_must_new(struct https);
    r->env = env;
    r->world = env->world;
    r->config = env->config;
    r->renew.fire = on_renew;
    list_init(&r->visits);
    must(https_pages_make(r->config, &r->pages));
    signer_init(&r->signer, r->world, &r->keys);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        if (env->peers[asked[i]][0] != NULL)
            https_peer(r, asked[i], 0, env->peers[asked[i]][0]);
    }
    renew(r);
    set_listeners(r, true);
    role_ready(env);
    return r;
}

static void https_reload(void *self, const struct config *old)
{
    struct https *r = self;
    struct https_pages pages;
    UNUSED(old);
    if (https_pages_make(r->env->config, &pages)) {
        https_pages_free(&r->pages);
        r->pages = pages;
        const struct config *before = r->config;
        r->config = r->env->config;
        role_config_release(r->env, before);
    } else {
        log_error(r->world->log, "reload.memory", LC("what", "kept the policies of the old configuration"));
    }
    renew(r);
    set_listeners(r, !r->is_draining);
}

static void https_drain(void *self, uint64_t deadline_ms)
{
    struct https *r = self;
    UNUSED(deadline_ms);
    r->is_draining = true;
    set_listeners(r, false);
    visits_end(r); /* who asks will ask again */
    role_drained(r->env);
}

static void https_certificate(void *self, size_t i)
{
    struct https *r = self;
    UNUSED(i);
    if (!r->renew.is_set)
        world_timer_set(r->world, &r->renew, world_now_ms(r->world));
}

static void https_del(void *self)
{
    struct https *r = self;
    visits_end(r);
    world_timer_cancel(r->world, &r->renew);
    signer_fini(&r->signer);
    tls_context_release(&r->tls);
    https_pages_free(&r->pages);
    mem_free(r);
}

const struct role_ops https_role = {.create = https_create,
                                    .peer = https_peer,
                                    .reload = https_reload,
                                    .drain = https_drain,
                                    .del = https_del,
                                    .certificate = https_certificate};
