/* service/smtpd/secure.c: TLS of smtpd: the certificates it shows. Signatures come by service/boot/signer.h.
 *
 * Owns:     the context of new handshakes (older connections keep theirs).
 * Limits:   SMTPD_TLS_MS for a handshake.
 * Errors:   without a certificate that can be used, or while there is no keys role, STARTTLS is a 454, and a
 * connection that must begin with TLS is closed. A bad new certificate leaves the old ones in force.
 */
#include "base/mem.h"
#include "service/smtpd/smtpd.h"
#include "service/super/tickets.h"

#include <string.h>

/* ---- certificates ---------------- */

/* What is in force of the configuration's certificates; returns how many. */
static size_t list_certificates(const struct smtpd *d, struct tls_certificate *list)
{
    const struct config *c = d->conf->config;
    size_t n = 0;
    for (size_t i = 0; i < c->n_certificates && i < d->env->n_certificates; i++) {
        const struct role_certificate *have = &d->env->certificates[i];
        bool is_ours = have->is_there && (have->uses & KEY_USE_SERVER) != 0 &&
                       str_eq(have->name, c->certificates[i].cert);
        if (is_ours)
            list[n++] = (struct tls_certificate){.chain = have->chain, .key = have->key};
    }
    return n;
}

static struct tls_context *make_context(struct smtpd *d, const struct tls_certificate *list, size_t n,
                                        struct buf *why)
{
    const struct config *c = d->conf->config;
    struct tls_server_conf conf = {
        .certificates = list,
        .n_certificates = n,
        .legacy = c->tls_legacy,
        .ask_certificate = c->client_ca.n > 0,
        .client_ca = c->client_ca,
        .tickets = d->tickets,
        .n_tickets = c->tls_tickets ? d->n_tickets : 0,
        .alpn = STR("smtp"),
    };
    return world_tls_server(d->world, &conf, why);
}

void secure_renew(struct smtpd *d)
{
    char mem[512];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    size_t n_max = d->conf->config->n_certificates;
    struct tls_certificate *list = n_max == 0 ? NULL : mem_alloc(n_max * sizeof *list);
    size_t n = list == NULL ? 0 : list_certificates(d, list);
    if (n > 0)
        signer_set(&d->signer);
    struct tls_context *fresh = n == 0 ? NULL : make_context(d, list, n, &why);
    mem_free(list);
    if (n > 0 && fresh == NULL) {
        log_error(d->world->log, "smtpd.bad-certificate", LS("why", buf_str(&why)));
        return;
    }
    tls_context_release(&d->tls);
    d->tls = fresh;
}

void secure_on_tickets(struct smtpd *d, const struct ipc_sup_tickets *m)
{
    size_t n = tickets_count(m->keys);
    if (n == 0)
        return;
    memcpy(d->tickets, m->keys.p, m->keys.n);
    d->n_tickets = n;
    secure_renew(d);
}

void secure_init(struct smtpd *d)
{
    signer_init(&d->signer, d->world, &d->keys);
    world_random(d->world, &d->tickets[0], sizeof d->tickets[0]);
    d->n_tickets = 1;
    secure_renew(d);
}

void secure_fini(struct smtpd *d)
{
    signer_fini(&d->signer);
    tls_context_release(&d->tls);
    explicit_bzero(d->tickets, sizeof d->tickets);
}

/* ---- handshakes ---------------- */

/* One line in a while: anybody can make them. */
static void tell_failed(struct session *s, enum err err, struct str why)
{
    struct smtpd *d = s->d;
    uint64_t now_ms = world_now_ms(d->world);
    d->count.tls_failed++;
    if (now_ms < d->tls_log_ms)
        return;
    char mem[NETADDR_TEXT_MAX];
    struct buf who;
    buf_init_fixed(&who, mem, sizeof mem);
    netaddr_format(&s->peer, &who);
    log_info(d->world->log, "smtpd.tls-failed", LS("peer", buf_str(&who)), LS("why", why), LERR(err),
             LU("since_start", d->count.tls_failed));
    d->tls_log_ms = now_ms + SMTPD_TLS_LOG_MS;
}

static void on_tls(void *arg, struct conn *c, enum err err, struct str why)
{
    struct session *s = arg;
    UNUSED(c);
    s->is_shaking = false;
    if (err != ERR_OK) {
        tell_failed(s, err, why);
        session_del(s);
        return;
    }
    s->d->count.tls++;
    session_secured(s);
}

bool secure_is_ready(const struct smtpd *d)
{
    return d->tls != NULL && d->keys != NULL;
}

void secure_start(struct session *s)
{
    struct smtpd *d = s->d;
    struct tls_start start = {.context = d->tls, .deadline_ms = world_now_ms(d->world) + SMTPD_TLS_MS};
    world_timer_cancel(d->world, &s->timer);
    if (d->tls == NULL) {
        tell_failed(s, ERR_NOTFOUND, STR("no certificate is in force"));
        session_del(s);
        return;
    }
    s->is_shaking = true;
    enum err e = conn_tls_start(s->conn, true, &start, on_tls, s);
    if (e == ERR_OK)
        return;
    s->is_shaking = false;
    tell_failed(s, e, STR("the handshake could not be begun"));
    session_del(s);
}
