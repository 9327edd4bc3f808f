/* service/relay/relay_tls.c: TLS of connections: how safe one must be, its handshake, what it came to, and
 * what is known of hosts.
 *
 * How safe: verify/tls_level.h, from what the route asks for, what the sender asks for and what the host did
 * before. Where nothing asks for TLS a handshake that fails is followed by one attempt in the clear, on a new
 * connection to the same address; but a host that spoke TLS in the last RELAY_SEEN_MS is not believed that it
 * can't any more. A kept connection is taken only for mail that asks for no more than it gives.
 */
#include "service/relay/relay.h"

#include "base/mem.h"

#include <string.h>

/* ---- hosts --------------------------------------------------------------------------------------- */

static struct seen_host *find_host(const struct relay *r, struct str name)
{
    struct idmap_node *n = idmap_find(&r->seen, str_ihash(name, r->seed));
    struct seen_host *h = n == NULL ? NULL : container_of(n, struct seen_host, by_name);
    return h != NULL && str_ieq(str_from_c(h->name), name) ? h : NULL;
}

static void forget_host(struct relay *r, struct seen_host *h)
{
    (void)idmap_remove(&r->seen, h->by_name.id);
    list_remove(&h->by_use);
    mem_free(h);
}

enum tls_seen relay_seen(const struct relay *r, struct str name)
{
    const struct seen_host *h = find_host(r, name);
    if (h == NULL || world_now_ms(r->world) - h->at_ms >= RELAY_SEEN_MS)
        return TLS_SEEN_NOTHING;
    return h->is_verified ? TLS_SEEN_VERIFIED : TLS_SEEN_TLS;
}

void relay_see(struct relay *r, struct str name, bool is_verified)
{
    uint64_t hash = str_ihash(name, r->seed);
    struct idmap_node *other = idmap_find(&r->seen, hash);
    struct seen_host *h = find_host(r, name);
    if (h == NULL && other != NULL) /* two names with one hash: the later one */
        forget_host(r, container_of(other, struct seen_host, by_name));
    if (h == NULL && r->seen.n >= RELAY_SEEN_MAX)
        forget_host(r, list_entry(r->seen_by_use.next, struct seen_host, by_use));
    if (h == NULL) {
        h = mem_new(struct seen_host);
        if (h == NULL)
            return; /* then it is not known: no harm to the mail */
        (void)str_to_c(name, h->name, sizeof h->name);
        idmap_insert(&r->seen, &h->by_name, hash);
    } else {
        list_remove(&h->by_use);
    }
    h->at_ms = world_now_ms(r->world);
    h->is_verified = is_verified;
    list_push_back(&r->seen_by_use, &h->by_use);
}

void relay_seen_clear(struct relay *r)
{
    while (!list_is_empty(&r->seen_by_use))
        forget_host(r, list_entry(r->seen_by_use.next, struct seen_host, by_use));
}

/* ---- how safe ------------------------------------------------------------------------------------ */

static bool is_near(const struct netaddr *to)
{
    return to->kind == NETADDR_UNIX || netaddr_is_loopback(to);
}

/* What is known of a host is known by its name, or by its address where it has none. */
static void set_key(struct link *k, const struct netaddr *to, struct str name)
{
    struct buf b;
    buf_init_fixed(&b, k->key, sizeof k->key - 1);
    if (name.n > 0)
        buf_put(&b, str_slice(name, 0, SMTP_DOMAIN_MAX));
    else
        netaddr_format(to, &b);
    k->has_name = name.n > 0;
}

/* RFC 8461 4.1. Not for addresses: a policy names hosts. */
static bool is_of_policy(const struct job *j, struct str key)
{
    for (uint32_t i = 0; i < j->n_hops && i < 32; i++) {
        if (j->hops[i].name.n > 0 && str_ieq(j->hops[i].name, key))
            return (j->sts_hops >> i & 1) != 0;
    }
    return false;
}

bool relay_tls_is_of_policy(const struct link *k, const struct job *j)
{
    return is_of_policy(j, str_from_c(k->key));
}

void relay_tls_facts(const struct link *k, const struct job *j, struct tls_level_facts *out)
{
    /* without a word of the administrator what the domain publishes counts, once it is asked for */
    static const enum tls_rule rules[] = {
        [HOP_TLS_MAY] = TLS_RULE_DANE,        [HOP_TLS_NONE] = TLS_RULE_NONE,
        [HOP_TLS_ENCRYPT] = TLS_RULE_ENCRYPT, [HOP_TLS_VERIFY] = TLS_RULE_VERIFY,
        [HOP_TLS_ANY] = TLS_RULE_MAY,         [HOP_TLS_DANE] = TLS_RULE_DANE_ONLY};
    *out = (struct tls_level_facts){
        .rule = rules[j->tls],
        .dane = k->dane,
        .is_found_securely = j->trusts_hops,
        .sts = j->sts,
        .sts_matches = relay_tls_is_of_policy(k, j),
        .requiretls = j->params.requiretls && !k->is_near,
        .tls_required_no = j->params.tls_optional,
        .seen = relay_seen(k->relay, str_from_c(k->key)),
    };
}

static void judge(const struct link *k, const struct job *j, struct tls_level_verdict *out)
{
    struct tls_level_facts f;
    relay_tls_facts(k, j, &f);
    tls_level_judge(&f, out);
}

/* Why there is no connection: what decided, and that it was us. */
static void note(struct job *j, const struct link *k, struct esc esc, const char *text)
{
    j->n_refused += esc.class == 5;
    job_note(j, SMTP_AT_TLS, 0, esc, k->host, str_from_c(text));
}

/* How the host was found counts where DANE does. */
static const char *mx_text(enum dane_mx mx)
{
    static const char *const texts[] = {[DANE_MX_SECURE] = "; the MX records are signed",
                                        [DANE_MX_INSECURE] = "; the MX records are not signed",
                                        [DANE_MX_NONE] = ""};
    return texts[mx];
}

/* There is no going to this host. What its records lack no other address of it has. */
static void note_verdict(struct job *j, const struct link *k)
{
    char mem[RESULT_TEXT_MAX];
    struct buf b;
    enum tls_why why = k->verdict.why[0];
    buf_init_fixed(&b, mem, sizeof mem - 1);
    buf_puts(&b, tls_why_text(why));
    if (j->dane != NULL && (why == TLS_WHY_DANE_FAILED || why == TLS_WHY_DANE_MISSING)) {
        buf_puts(&b, ": ");
        relay_dane_why(j, &b);
        if (why == TLS_WHY_DANE_MISSING)
            buf_puts(&b, mx_text(j->mx));
        j->address = j->n_addresses;
    }
    mem[b.n] = '\0';
    note(j, k, k->verdict.esc, mem);
}

void relay_tls_take(struct link *k, const struct job *j)
{
    judge(k, j, &k->wanted);
}

bool relay_tls_tell(const struct link *k, struct buf *out)
{
    const struct tls_level_verdict *v = &k->wanted;
    buf_printf(out, "; wanted: %s", tls_level_word(v->level));
    for (size_t i = 0; i < v->n_why; i++)
        buf_printf(out, "%s%s", i == 0 ? ", since " : "; ", tls_why_text(v->why[i]));
    if (k->dane_said[0] != '\0')
        buf_printf(out, "%s; DANE: %s", mx_text(k->job->mx), k->dane_said);
    /* A host of MX records that anybody may have forged is who it says and no more (RFC 7672 2.2.1), unless
     * its certificate is for the domain. */
    return k->is_verified && (k->job->mx != DANE_MX_INSECURE || v->level == TLS_LEVEL_PKIX);
}

void relay_tls_note(const struct link *k, struct job *j, const struct smtp_client_result *f)
{
    char mem[RESULT_TEXT_MAX];
    struct buf b;
    const struct tls_level_verdict *v = &k->verdict;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_put(&b, str_slice(f->text, 0, sizeof mem / 2));
    enum tls_why why = v->why[0];
    for (size_t i = 0; i < v->n_why; i++)
        why = v->why[i] == TLS_WHY_SEEN ? TLS_WHY_SEEN : why;
    if (k->tls == SMTP_CLIENT_TLS_MUST)
        buf_printf(&b, " (%s)", tls_why_text(why));
    job_note(j, SMTP_AT_TLS, f->code, f->esc, k->host, buf_str(&b));
}

bool relay_tls_judge(struct link *k, struct job *j, const struct netaddr *to, struct str name)
{
    struct tls_level_verdict *v = &k->verdict;
    struct buf said;
    bool in_plain = j->in_plain;
    bool is_first = j->address == 1; /* of the host's addresses */
    j->in_plain = false;
    k->is_near = is_near(to);
    set_key(k, to, name);
    const struct dane_verdict *d = relay_dane_verdict(j);
    k->dane = d == NULL ? DANE_NONE : d->result;
    k->mx = j->mx;
    (void)str_to_c(j->next_hop, k->next_hop, sizeof k->next_hop);
    judge(k, j, v);
    k->wanted = *v;
    buf_init_fixed(&said, k->dane_said, sizeof k->dane_said - 1);
    relay_dane_why(j, &said);
    k->is_smtps = j->is_smtps;
    k->names_n = j->names.n; /* at most RELAY_NAMES_MAX: job_new() */
    if (j->names.n > 0)
        memcpy(k->names, j->names.p, j->names.n);
    switch (v->level) {
    case TLS_LEVEL_DEFER:
    case TLS_LEVEL_REFUSE:
        note_verdict(j, k);
        if (is_first)
            relay_report(k, j, TLS_RPT_END_UNTRIED, TLS_FAULT_NONE, str_from_c(j->fail_text));
        return false;
    case TLS_LEVEL_PLAIN:
        k->tls = SMTP_CLIENT_TLS_NONE;
        return true;
    case TLS_LEVEL_OPPORTUNISTIC:
        k->tls = !v->may_fall_back ? SMTP_CLIENT_TLS_MUST
                 : in_plain        ? SMTP_CLIENT_TLS_NONE
                                   : SMTP_CLIENT_TLS_MAY;
        break;
    case TLS_LEVEL_ENCRYPT:
    case TLS_LEVEL_PKIX:
    case TLS_LEVEL_DANE:
        k->tls = SMTP_CLIENT_TLS_MUST;
        break;
    case TLS_LEVEL_FINGERPRINT: /* nobody asks for that yet */
    case TLS_LEVELS:
        must_not_reach();
    }
    if (k->relay->tls == NULL && (k->tls == SMTP_CLIENT_TLS_MUST || k->is_smtps)) {
        note(j, k, ESC(4, 7, 5), "TLS is required here and this process has none");
        return false;
    }
    if (k->relay->tls == NULL) {
        k->tls = SMTP_CLIENT_TLS_NONE;
    } else if (relay_cert_context(k->relay, j->certificate, false) == NULL) {
        note(j, k, ESC(4, 3, 5), "our certificate for this host is not at hand");
        return false;
    }
    k->cert_hash = str_ihash(j->certificate, k->relay->seed);
    return true;
}

static bool is_same_login(const struct link *k, const struct job *j)
{
    return str_eq(str_from_c(k->user), j->user) && k->secret_hash == str_ihash(j->secret, k->relay->seed) &&
           (!k->is_encrypted || k->cert_hash == str_ihash(j->certificate, k->relay->seed));
}

/* What DANE-TA(2) proves is bound to names: those of the domain that the connection was made for. */
static bool is_same_proof(const struct link *k, const struct job *j)
{
    if (!k->is_dane)
        return false;
    return k->dane_usage == DANE_EE || (k->mx == j->mx && str_ieq(str_from_c(k->next_hop), j->next_hop));
}

bool relay_tls_serves(const struct link *k, const struct job *j)
{
    struct tls_level_verdict v;
    judge(k, j, &v);
    if (!is_same_login(k, j) || k->is_smtps != j->is_smtps)
        return false;
    switch (v.level) {
    case TLS_LEVEL_PLAIN:
        return true;
    case TLS_LEVEL_OPPORTUNISTIC:
        return k->is_encrypted || v.may_fall_back;
    case TLS_LEVEL_ENCRYPT:
        return k->is_encrypted;
    case TLS_LEVEL_PKIX:
        return k->is_encrypted && k->verdict.level == TLS_LEVEL_PKIX && k->verdict.names == v.names &&
               str_eq(str_of(k->names, k->names_n), j->names);
    case TLS_LEVEL_DANE:
        return is_same_proof(k, j);
    case TLS_LEVEL_FINGERPRINT:
    case TLS_LEVEL_DEFER:
    case TLS_LEVEL_REFUSE:
    case TLS_LEVELS:
        break;
    }
    return false;
}

/* ---- the handshake ------------------------------------------------------------------------------- */

/* Those that the certificate must be for; where nothing must be, those that are told to be right. */
static size_t find_names(const struct link *k, struct str *out)
{
    bool is_strict = k->verdict.level == TLS_LEVEL_PKIX;
    bool takes_list = !is_strict || (k->verdict.names & TLS_NAME_NEXT_HOP) != 0;
    bool takes_host = is_strict ? (k->verdict.names & TLS_NAME_HOST) != 0 : k->job->trusts_hops;
    struct reader list = reader_of(str_of(k->names, k->names_n));
    size_t n = 0;
    if (takes_host && k->has_name)
        out[n++] = str_from_c(k->key);
    while (takes_list && n < TLS_NAMES_MAX && list_next_str(&list, &out[n]))
        n++;
    return n;
}

/* The record that matched; of a whole certificate or key the beginning. */
static void put_record(struct buf *b, const struct tls_facts *f)
{
    struct dane_record r = {f->dane_usage, f->dane_selector, f->dane_matching, f->dane_data};
    buf_puts(b, ", verified (DANE: ");
    dane_format(&r, b);
    buf_puts(b, r.matching == DANE_FULL ? "...)" : ")");
}

static void put_proof(struct link *k, const struct tls_facts *f)
{
    struct buf b;
    buf_init_fixed(&b, k->proof, sizeof k->proof - 1);
    buf_printf(&b, "%.*s %.*s", STR_FMT(f->version), STR_FMT(f->cipher));
    if (f->group.n > 0)
        buf_printf(&b, ", %.*s", STR_FMT(f->group));
    if (f->signature.n > 0)
        buf_printf(&b, ", %.*s", STR_FMT(f->signature));
    if (f->has_peer_certificate) {
        buf_puts(&b, ", certificate SHA-256 ");
        for (size_t i = 0; i < sizeof f->peer_digest; i++)
            buf_printf(&b, "%02x", f->peer_digest[i]);
    }
    if (f->is_resumed)
        buf_puts(&b, ", resumed");
    if (k->is_dane)
        put_record(&b, f);
    else if (k->is_verified)
        buf_puts(&b, ", verified (PKIX)");
    else if (f->verify_text.n > 0)
        buf_printf(&b, ", not verified: %.*s", STR_FMT(str_slice(f->verify_text, 0, 100)));
    else
        buf_puts(&b, ", not verified: the certificate is for another name");
}

static void fail(struct link *k, enum err err, enum tls_fault fault, struct str why);

/* The TLS library makes nothing of the records: as if none was usable (RFC 7672 2.2). false: then it is not
 * enough. */
static bool is_enough_unproven(struct link *k)
{
    k->dane = DANE_UNUSABLE;
    judge(k, k->job, &k->verdict);
    k->wanted = k->verdict;
    return k->verdict.level == TLS_LEVEL_ENCRYPT;
}

static void secure(struct link *k, const struct tls_facts *f)
{
    k->is_dane = f->is_dane;
    k->dane_usage = f->dane_usage;
    if (k->verdict.level == TLS_LEVEL_DANE && !f->is_dane && !is_enough_unproven(k)) {
        fail(k, ERR_TLS, TLS_FAULT_RECORDS, STR("no TLSA record can be used"));
        return;
    }
    struct smtp_client_secured s = {.is_verified = f->is_dane || (f->is_trusted && f->is_named)};
    if (conn_tls_exporter(k->conn, s.exporter))
        s.n_exporter = sizeof s.exporter;
    if (!conn_tls_server_end_point(k->conn, s.end_point, &s.n_end_point))
        s.n_end_point = 0;
    k->is_encrypted = true;
    k->is_verified = s.is_verified;
    put_proof(k, f);
    relay_see(k->relay, str_from_c(k->key), s.is_verified);
    relay_report_secured(k, k->job, f);
    if (k->client == NULL)
        relay_link_greet(k, &s);
    else
        smtp_client_tls(k->client, &s, world_now_ms(k->relay->world));
}

static void fail(struct link *k, enum err err, enum tls_fault fault, struct str why)
{
    const struct tls_level_verdict *v = &k->verdict;
    char mem[RESULT_TEXT_MAX];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    if (k->client == NULL) /* which puts these words before it */
        buf_puts(&b, "TLS could not be established: ");
    buf_put(&b, why.n > 0 ? str_slice(why, 0, sizeof mem / 2) : str_from_c(err_str(err)));
    struct smtp_client_result f = {.stage = SMTP_AT_TLS, .esc = ESC(4, 7, 5), .text = buf_str(&b)};
    relay_report(k, k->job, TLS_RPT_END_BROKEN, fault, f.text);
    k->is_fallback_due =
        k->client != NULL && v->level == TLS_LEVEL_OPPORTUNISTIC && v->may_fall_back && k->user[0] == '\0';
    if (k->client != NULL) {
        smtp_client_no_tls(k->client, f.text, world_now_ms(k->relay->world)); /* and then relay_tls_note() */
    } else {
        relay_tls_note(k, k->job, &f);
        relay_link_give_up(k);
    }
}

static void on_tls(void *arg, struct conn *c, enum err err, struct str why)
{
    struct link *k = arg;
    const struct tls_facts *f = err == ERR_OK ? conn_tls(c) : NULL;
    k->is_shaking = false;
    k->want = 0;
    if (f != NULL)
        secure(k, f);
    else
        fail(k, err, err == ERR_OK ? TLS_FAULT_OURS : conn_tls_fault(c), why);
    relay_link_pump(k);
}

/* The server must be the one that the records say, and is called as they call it (RFC 7672 3.2.2, 8.1). */
static void ask_for_dane(const struct link *k, const struct dane_verdict *d, struct tls_tlsa *tlsa,
                         struct tls_start *s)
{
    if (d->result == DANE_USABLE || d->result == DANE_UNUSABLE)
        s->server_name = d->base;
    if (k->verdict.level != TLS_LEVEL_DANE)
        return;
    for (size_t i = 0; i < d->n_records; i++) {
        const struct dane_record *r = &d->records[i];
        tlsa[i] = (struct tls_tlsa){r->usage, r->selector, r->matching, r->data};
    }
    s->check = TLS_CHECK_DANE;
    s->tlsa = tlsa;
    s->n_tlsa = d->n_records;
    s->names = d->names;
    s->n_names = d->n_names;
}

void relay_tls_begin(struct link *k)
{
    struct str names[TLS_NAMES_MAX];
    struct tls_tlsa tlsa[DANE_RECORDS_MAX];
    const struct dane_verdict *d = relay_dane_verdict(k->job);
    struct tls_start s = {
        .deadline_ms = world_now_ms(k->relay->world) + SMTP_CLIENT_TLS_MS,
        .server_name = k->has_name ? str_from_c(k->key) : STR_NIL,
        .check = k->verdict.level == TLS_LEVEL_PKIX ? TLS_CHECK_PKIX : TLS_CHECK_NONE,
        .names = names,
        .n_names = find_names(k, names),
    };
    if (d != NULL)
        ask_for_dane(k, d, tlsa, &s);
    /* old TLS is better than none */
    s.context = relay_cert_context(k->relay, k->job->certificate, s.check == TLS_CHECK_NONE);
    k->wants_tls = false;
    struct tls_session *session = relay_resume_take(k);
    s.resume = session;
    enum err e = ERR_INVALID; /* nobody to be authenticated as, or the certificate has gone */
    if (s.context != NULL && (s.check == TLS_CHECK_NONE || s.n_names > 0))
        e = conn_tls_start(k->conn, false, &s, on_tls, k);
    tls_session_free(&session);
    k->is_shaking = e == ERR_OK;
    if (e != ERR_OK)
        fail(k, e, TLS_FAULT_OURS, STR_NIL);
}

/* ---- the trust anchors --------------------------------------------------------------------------- */

struct tls_context *relay_tls_context(struct relay *r, const struct tls_certificate *ours, bool legacy,
                                      const struct tls_context *like)
{
    char mem[512];
    struct buf why;
    struct tls_client_conf conf = {
        .ca = r->env->config->authorities, .like = like, .certificate = ours, .legacy = legacy};
    buf_init_fixed(&why, mem, sizeof mem);
    struct tls_context *t = world_tls_client(r->world, &conf, &why);
    if (t == NULL)
        log_error(r->world->log, "relay.tls", LS("why", buf_str(&why)));
    return t;
}

void relay_tls_setup(struct relay *r)
{
    if (r->world->ops->tls == NULL)
        return;
    struct tls_context *strict = relay_tls_context(r, NULL, false, NULL);
    struct tls_context *any = strict == NULL ? NULL : relay_tls_context(r, NULL, true, strict);
    if (strict == NULL || any == NULL) { /* what there was goes on */
        tls_context_release(&strict);
        tls_context_release(&any);
        return;
    }
    relay_tls_fini(r);
    r->tls = strict;
    r->tls_any = any;
}

void relay_tls_fini(struct relay *r)
{
    relay_resume_clear(r);
    tls_context_release(&r->tls);
    tls_context_release(&r->tls_any);
}
