/* sim/sim_tls.c: the handshake is an exchange of frames on the simulated stream: magic, kind, length, fields.
 * Never an octet more than a frame is read, so what follows the last one is the user's. */
#include "sim/sim_tls.h"
#include "sim/sim_impl.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

enum {
    FRAME_MAX = 4096,
    FRAME_HEAD = 8,
    CERTIFICATES_MAX = 32,
    TEXTS_MAX = 8192,
    VERIFY_EXPIRED = 10,
    VERIFY_UNKNOWN = 20
};
enum kind { KIND_HELLO = 'H', KIND_SERVER = 'S', KIND_FINISHED = 'F', KIND_ALERT = 'A' };
static const char magic[] = "SIMTL";

struct chain {
    char text[SIM_CHAIN_MAX];
    size_t n;
    uint32_t key;
};
/* In the memory of its process, which goes without a word. */
struct tls_context {
    struct world_object object; /* first */
    unsigned n_refs;
    bool is_server, asks, has_chain;
    size_t n_chains, n_tickets;
    char alpn[64], anchors[TEXTS_MAX];
    struct tls_ticket_key tickets[TLS_TICKET_KEYS_MAX];
    struct chain chains[CERTIFICATES_MAX];
};
struct tls_session {
    struct world_object object; /* first */
    struct tls_context *context;
    unsigned char ticket[16];
};

enum phase {
    PHASE_START = 0,
    PHASE_HELLO,
    PHASE_SIGNING,
    PHASE_SERVER,
    PHASE_FINISHED,
    PHASE_OPEN,
    PHASE_FAILED
};
struct sim_tls {
    struct conn *c;
    struct tls_context *context; /* NULL after the end */
    enum phase phase;
    bool is_server, is_due, is_late, is_signed, has_ticket, is_resuming;
    struct sim_event deadline;
    struct list signing; /* its process's, while its signature is open */
    uint64_t token;
    enum err sign_err, end;
    void (*fn)(void *arg, struct conn *c, enum err err, struct str why);
    void *arg;
    const struct chain *chosen;
    enum tls_check check;
    enum tls_fault fault;
    struct tls_facts facts;
    unsigned char secret[32], ticket[16], resume[16];
    char out[FRAME_MAX], in[FRAME_MAX];
    size_t n_out, n_in;
    char mem[TEXTS_MAX]; /* texts of the facts, names and records */
    struct buf texts;
    size_t n_names, n_tlsa;
    struct str names[TLS_NAMES_MAX], server_name, alpn, server_chain;
    struct tls_tlsa tlsa[TLS_TLSA_MAX];
};

/* ---- words ---- */

static bool next_word(struct str *text, struct str *out)
{
    size_t from = 0, n = 0;
    while (from < text->n && (text->p[from] == ' ' || text->p[from] == '\n'))
        from++;
    while (from + n < text->n && text->p[from + n] != ' ' && text->p[from + n] != '\n')
        n++;
    *out = str_slice(*text, from, from + n);
    *text = str_skip(*text, from + n);
    return n > 0;
}

static bool has_word(struct str text, struct str word)
{
    for (struct str w; next_word(&text, &w);) {
        if (str_ieq(w, word))
            return true;
    }
    return false;
}

static bool is_one_label_below(struct str name, struct str dotted)
{
    size_t dot = str_chr(name, '.');
    return dot != STR_NPOS && dot > 0 && str_ieq(str_skip(name, dot), dotted);
}

/* 2: one of its names, 1: by its wildcard, 0: no. A name that begins with a dot: any one label below it. */
static int is_for(struct str chain, struct str name)
{
    int best = 0;
    for (struct str w; best < 2 && next_word(&chain, &w);) {
        bool is_wild = str_starts(w, STR("*."));
        if (str_ieq(w, name) || (str_starts(name, STR(".")) && !is_wild && is_one_label_below(w, name)))
            best = 2;
        else if (is_wild && (is_one_label_below(name, str_skip(w, 1)) || str_ieq(str_skip(w, 1), name)))
            best = 1;
    }
    return best;
}

static struct str signer_of(struct str chain)
{
    for (struct str w, rest = chain; next_word(&rest, &w);) {
        if (str_starts(w, STR("by=")))
            return str_skip(w, 3);
    }
    return STR_NIL;
}

static struct str chain_text(const struct chain *c)
{
    return str_of(c->text, c->n);
}

static struct str keep_text(struct sim_tls *t, struct str s)
{
    size_t at = t->texts.n;
    return buf_put(&t->texts, s) ? str_of(t->mem + at, s.n) : STR_NIL;
}

/* ---- contexts ---- */

static struct tls_context *context_new(bool is_server, struct str anchors, struct buf *why)
{
    struct tls_context *t = mem_new(struct tls_context);
    if (t == NULL)
        return NULL;
    *t = (struct tls_context){.object = {&sim_world_ops}, .n_refs = 1, .is_server = is_server};
    if (str_to_c(anchors, t->anchors, sizeof t->anchors))
        return t;
    (void)buf_puts(why, "too many anchors for a simulation");
    mem_free(t);
    return NULL;
}

static bool add_chain(struct tls_context *t, const struct tls_certificate *c, struct buf *why)
{
    struct str rest = c->chain, word;
    if (t->n_chains == CERTIFICATES_MAX || c->chain.n > SIM_CHAIN_MAX || !next_word(&rest, &word)) {
        (void)buf_printf(why, "certificate %zu: it has no names, or is too much for a simulation",
                         t->n_chains + 1);
        return false;
    }
    struct chain *k = &t->chains[t->n_chains++];
    memcpy(k->text, c->chain.p, c->chain.n);
    k->n = c->chain.n;
    k->key = c->key;
    return true;
}

static void sim_context_release(struct tls_context *t)
{
    must(t->n_refs > 0);
    if (--t->n_refs == 0)
        mem_free(t);
}

static struct tls_context *sim_context_keep(struct tls_context *t)
{
    t->n_refs++;
    return t;
}

static struct tls_context *sim_tls_server(struct world *w, const struct tls_server_conf *conf,
                                          struct buf *why)
{
    UNUSED(w);
    must(conf->n_certificates > 0 && conf->n_tickets <= TLS_TICKET_KEYS_MAX);
    struct tls_context *t = context_new(true, conf->client_ca, why);
    for (size_t i = 0; t != NULL && i < conf->n_certificates; i++) {
        if (!add_chain(t, &conf->certificates[i], why))
            tls_context_release(&t);
    }
    if (t == NULL)
        return NULL;
    t->asks = conf->ask_certificate;
    must(str_to_c(conf->alpn, t->alpn, sizeof t->alpn));
    t->n_tickets = conf->n_tickets;
    if (conf->n_tickets > 0)
        memcpy(t->tickets, conf->tickets, conf->n_tickets * sizeof *t->tickets);
    return t;
}

static struct tls_context *sim_tls_client(struct world *w, const struct tls_client_conf *conf,
                                          struct buf *why)
{
    UNUSED(w);
    struct tls_context *t = context_new(false, conf->ca, why);
    if (t != NULL && conf->certificate != NULL && !add_chain(t, conf->certificate, why))
        tls_context_release(&t);
    return t;
}

/* ---- frames ---- */

static void put_frame(struct sim_tls *t, enum kind kind, const struct buf *fields)
{
    struct buf out;
    buf_init_fixed(&out, t->out + t->n_out, sizeof t->out - t->n_out);
    (void)buf_puts(&out, magic);
    (void)buf_put_u8(&out, (uint8_t)kind);
    (void)buf_put_u16(&out, (uint16_t)fields->n);
    must(!fields->failed && buf_put(&out, buf_str(fields)));
    t->n_out += out.n;
}

static void flush(struct sim_tls *t)
{
    while (t->n_out > 0) {
        struct str s = str_of(t->out, t->n_out);
        size_t n;
        if (sim_raw_write(t->c, &s, 1, &n) != ERR_OK)
            return;
        memmove(t->out, t->out + n, t->n_out - n);
        t->n_out -= n;
    }
}

/* ERR_OK: a whole frame; ERR_AGAIN: not yet; ERR_INVALID: none of ours. */
static enum err get_frame(struct sim_tls *t, enum kind *kind, struct reader *fields)
{
    for (;;) {
        size_t want = t->n_in < FRAME_HEAD ? FRAME_HEAD : FRAME_HEAD + get_u16_at(t->in + FRAME_HEAD - 2), n;
        if (t->n_in == want) {
            *kind = (enum kind)t->in[sizeof magic - 1];
            *fields = reader_of(str_of(t->in + FRAME_HEAD, want - FRAME_HEAD));
            t->n_in = 0;
            return ERR_OK;
        }
        enum err err = sim_raw_read(t->c, t->in + t->n_in, want - t->n_in, &n);
        if (err != ERR_OK)
            return err;
        t->n_in += n;
        size_t n_magic = t->n_in < sizeof magic - 1 ? t->n_in : sizeof magic - 1;
        if (memcmp(t->in, magic, n_magic) != 0 ||
            (t->n_in >= FRAME_HEAD && get_u16_at(t->in + FRAME_HEAD - 2) > FRAME_MAX - FRAME_HEAD))
            return ERR_INVALID;
    }
}

/* ---- the end ---- */

static void let_go(struct sim_tls *t)
{
    sim_event_cancel(t->c->source.sim, &t->deadline);
    list_remove(&t->signing);
    if (t->context != NULL && t->phase != PHASE_OPEN) {
        sim_context_release(t->context);
        t->context = NULL;
    }
}

static void finish(struct sim_tls *t, enum err err, struct str why)
{
    struct conn *c = t->c;
    if (err != ERR_OK && t->fault == TLS_FAULT_NONE)
        t->fault = t->sign_err == ERR_OK ? TLS_FAULT_HANDSHAKE : TLS_FAULT_OURS;
    t->phase = err == ERR_OK ? PHASE_OPEN : PHASE_FAILED;
    t->end = err;
    let_go(t);
    sim_trace(c->source.sim, 'T', c->source.id, (uint64_t)err);
    flush(t); /* an alert */
    source_wake(&c->source);
    t->fn(t->arg, c, err, why);
}

static void refuse(struct sim_tls *t, const char *alert, const char *why)
{
    struct buf b;
    char mem[256];
    buf_init_fixed(&b, mem, sizeof mem);
    (void)buf_put_lstr(&b, str_from_c(alert));
    put_frame(t, KIND_ALERT, &b);
    finish(t, ERR_TLS, str_from_c(why));
}

static void refused(struct sim_tls *t, struct reader *fields)
{
    char mem[256];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    (void)buf_puts(&why, "the other side refused the TLS handshake: ");
    (void)buf_put(&why, str_slice(read_lstr(fields), 0, 100));
    finish(t, ERR_TLS, buf_str(&why));
}

/* ---- judgement ---- */

static void judge(struct sim_tls *t, struct str chain)
{
    struct tls_facts *f = &t->facts;
    f->has_peer_certificate = chain.n > 0;
    if (chain.n == 0)
        return;
    chain = keep_text(t, chain);
    for (uint64_t i = 0; i < 4; i++)
        put_u64_at(f->peer_digest + 8 * i, str_ihash(chain, i));
    struct str name = chain, by = signer_of(chain);
    (void)next_word(&name, &f->peer_subject);
    f->peer_issuer = by.n > 0 ? by : f->peer_subject;
    f->verify_code = has_word(chain, STR("expired"))                             ? VERIFY_EXPIRED
                     : has_word(str_from_c(t->context->anchors), f->peer_issuer) ? 0
                                                                                 : VERIFY_UNKNOWN;
    f->verify_text = f->verify_code == VERIFY_EXPIRED   ? STR("certificate has expired")
                     : f->verify_code == VERIFY_UNKNOWN ? STR("unable to get local issuer certificate")
                                                        : STR_NIL;
    f->is_trusted = f->verify_code == 0;
    for (size_t i = 0; i < t->n_names && !f->is_named; i++)
        f->is_named = is_for(chain, t->names[i]) > 0;
}

/* What PKIX has against it as server_name's. */
static enum tls_fault fault_of(const struct sim_tls *t, struct str chain)
{
    if (t->facts.verify_code == VERIFY_UNKNOWN)
        return TLS_FAULT_UNTRUSTED;
    if (is_for(chain, t->server_name) == 0)
        return TLS_FAULT_NAME;
    return t->facts.verify_code == VERIFY_EXPIRED ? TLS_FAULT_EXPIRED : TLS_FAULT_NONE;
}

static bool is_usable(const struct tls_tlsa *r)
{
    return (r->usage == 2 || r->usage == 3) && r->selector <= 1 && r->matching <= 2 && r->data.n > 0;
}

static void judge_dane(struct sim_tls *t, struct str chain)
{
    struct tls_facts *f = &t->facts;
    for (size_t i = 0; i < t->n_tlsa; i++) {
        const struct tls_tlsa *r = &t->tlsa[i];
        if (!is_usable(r))
            continue;
        f->n_tlsa_usable++;
        bool fits =
            str_eq(r->data, chain) && (r->usage == 3 || (f->is_named && !has_word(chain, STR("expired"))));
        if (fits && !f->is_dane) {
            f->is_dane = true;
            f->dane_usage = r->usage;
            f->dane_selector = r->selector;
            f->dane_matching = r->matching;
        }
    }
    if (t->check == TLS_CHECK_DANE && f->n_tlsa_usable > 0)
        f->is_trusted = false;
}

/* NULL: all is well. */
static const char *objection(const struct sim_tls *t)
{
    const struct tls_facts *f = &t->facts;
    if (t->check == TLS_CHECK_DANE && f->n_tlsa_usable > 0)
        return f->is_dane ? NULL : "the certificate of the other side: no matching DANE TLSA records";
    if (t->check != TLS_CHECK_PKIX || (f->is_trusted && f->is_named))
        return NULL;
    return f->verify_code == VERIFY_EXPIRED ? "the certificate of the other side: certificate has expired"
           : f->verify_code == VERIFY_UNKNOWN
               ? "the certificate of the other side: unable to get local issuer certificate"
               : "the certificate of the other side: hostname mismatch";
}

static void agree(struct sim_tls *t)
{
    t->facts.version = STR("TLSv1.3");
    t->facts.cipher = STR("TLS_AES_256_GCM_SHA384");
    t->facts.group = STR("x25519");
    t->facts.signature = t->facts.is_resumed ? STR_NIL : STR("ecdsa_sha256");
}

/* ---- the client ---- */

static void say_hello(struct sim_tls *t)
{
    struct buf b;
    char mem[1024];
    buf_init_fixed(&b, mem, sizeof mem);
    (void)buf_put_lstr(&b, t->server_name);
    (void)buf_put_lstr(&b, t->alpn);
    (void)buf_put_lstr(&b, t->is_resuming ? str_of(t->resume, sizeof t->resume) : STR_NIL);
    put_frame(t, KIND_HELLO, &b);
    t->phase = PHASE_SERVER;
}

static void on_server(struct sim_tls *t, struct reader *f)
{
    struct buf b;
    char mem[SIM_CHAIN_MAX + 16];
    struct str chain = read_lstr(f), secret = read_lstr(f), ticket = read_lstr(f), alpn = read_lstr(f);
    uint8_t flags = read_u8(f);
    if (!reader_done(f) || secret.n != sizeof t->secret || chain.n == 0) {
        refuse(t, "decode error", "the other side spoke no TLS");
        return;
    }
    memcpy(t->secret, secret.p, secret.n);
    t->has_ticket = ticket.n == sizeof t->ticket && t->check != TLS_CHECK_DANE;
    if (t->has_ticket)
        memcpy(t->ticket, ticket.p, ticket.n);
    t->facts.alpn = keep_text(t, alpn);
    t->facts.is_resumed = (flags & 1) != 0;
    t->server_chain = keep_text(t, chain);
    judge(t, chain);
    judge_dane(t, chain);
    agree(t);
    const char *why = objection(t);
    bool is_of_records = t->check == TLS_CHECK_DANE && t->facts.n_tlsa_usable > 0;
    enum tls_fault fault = !is_of_records ? fault_of(t, chain)
                           : why != NULL  ? TLS_FAULT_RECORDS
                                          : TLS_FAULT_NONE;
    if (why != NULL) {
        t->fault = fault;
        refuse(t, "bad certificate", why);
        return;
    }
    buf_init_fixed(&b, mem, sizeof mem);
    bool shows = (flags & 2) != 0 && t->context->n_chains > 0;
    (void)buf_put_lstr(&b, shows ? chain_text(&t->context->chains[0]) : STR_NIL);
    put_frame(t, KIND_FINISHED, &b);
    flush(t);
    t->fault = fault;
    finish(t, ERR_OK, STR_NIL);
}

/* ---- the server ---- */

static const struct chain *choose(const struct tls_context *x, struct str name)
{
    const struct chain *wild = NULL;
    for (size_t i = 0; name.n > 0 && i < x->n_chains; i++) {
        int fit = is_for(chain_text(&x->chains[i]), name);
        if (fit == 2)
            return &x->chains[i];
        if (fit == 1 && wild == NULL)
            wild = &x->chains[i];
    }
    return wild != NULL ? wild : &x->chains[0];
}

static void say_server(struct sim_tls *t)
{
    struct buf b;
    char mem[2048];
    world_random(&t->c->source.proc->world, t->secret, sizeof t->secret);
    buf_init_fixed(&b, mem, sizeof mem);
    (void)buf_put_lstr(&b, chain_text(t->chosen));
    (void)buf_put_lstr(&b, str_of(t->secret, sizeof t->secret));
    (void)buf_put_lstr(&b, t->context->n_tickets > 0 ? str_of(t->context->tickets[0].name, 16) : STR_NIL);
    (void)buf_put_lstr(&b, t->facts.alpn);
    (void)buf_put_u8(&b, (uint8_t)((t->facts.is_resumed ? 1 : 0) | (t->context->asks ? 2 : 0)));
    put_frame(t, KIND_SERVER, &b);
    t->phase = PHASE_FINISHED;
}

static void ask_signer(struct sim_tls *t)
{
    struct sim_proc *p = t->c->source.proc;
    const struct tls_sign s = {.token = t->token = ++p->tls_token,
                               .key = t->chosen->key,
                               .scheme = TLS_SIGN_ECDSA,
                               .digest = TLS_DIGEST_SHA256,
                               .octets = str_of(t->secret, sizeof t->secret)};
    t->phase = PHASE_SIGNING;
    list_push_back(&p->tls_signing, &t->signing);
    if (p->signer.sign == NULL)
        world_tls_signed(&p->world, t->token, ERR_NOTFOUND, STR_NIL);
    else
        p->signer.sign(p->signer.arg, &s);
}

static void on_hello(struct sim_tls *t, struct reader *f)
{
    struct str name = read_lstr(f), alpn = read_lstr(f), ticket = read_lstr(f),
               ours = str_from_c(t->context->alpn);
    if (!reader_done(f) || name.n > DNS_NAME_MAX || alpn.n >= sizeof t->context->alpn) {
        refuse(t, "decode error", "the other side spoke no TLS");
        return;
    }
    if (ours.n > 0 && alpn.n > 0 && !str_eq(ours, alpn)) {
        refuse(t, "no application protocol", "the other side asked for other protocols (ALPN) only");
        return;
    }
    t->facts.server_name = keep_text(t, name);
    t->facts.alpn = ours.n > 0 ? keep_text(t, alpn) : STR_NIL;
    t->chosen = choose(t->context, name);
    for (size_t i = 0; ticket.n == 16 && i < t->context->n_tickets; i++) {
        if (memcmp(ticket.p, t->context->tickets[i].name, 16) == 0)
            t->facts.is_resumed = true;
    }
    agree(t);
    if (t->facts.is_resumed)
        say_server(t);
    else
        ask_signer(t);
}

static void on_finished(struct sim_tls *t, struct reader *f)
{
    struct str chain = read_lstr(f);
    if (!reader_done(f) || chain.n > SIM_CHAIN_MAX) {
        refuse(t, "decode error", "the other side spoke no TLS");
        return;
    }
    judge(t, chain);
    finish(t, ERR_OK, STR_NIL);
}

/* ---- steps ---- */

static void on_frame(struct sim_tls *t, enum kind kind, struct reader *fields)
{
    if (kind == KIND_ALERT)
        refused(t, fields);
    else if (kind == KIND_HELLO && t->phase == PHASE_HELLO)
        on_hello(t, fields);
    else if (kind == KIND_SERVER && t->phase == PHASE_SERVER)
        on_server(t, fields);
    else if (kind == KIND_FINISHED && t->phase == PHASE_FINISHED)
        on_finished(t, fields);
    else
        refuse(t, "unexpected message", "the TLS handshake failed: unexpected message");
}

static void signature_is_there(struct sim_tls *t)
{
    char mem[128];
    struct buf why;
    t->is_signed = false;
    if (t->sign_err == ERR_OK) {
        say_server(t);
        return;
    }
    buf_init_fixed(&why, mem, sizeof mem);
    (void)buf_printf(&why, "no signature was made with our key: %s", err_str(t->sign_err));
    (void)buf_putc(&why, 0);
    refuse(t, "internal error", mem);
}

void sim_tls_step(struct conn *c)
{
    struct sim_tls *t = c->tls;
    struct reader fields;
    enum kind kind;
    t->is_due = false;
    if (t->is_late) {
        finish(t, ERR_TIMEOUT,
               t->phase == PHASE_SIGNING ? STR("no signature was made in time for the TLS handshake")
                                         : STR("the other side did not finish the TLS handshake in time"));
        return;
    }
    if (t->phase == PHASE_START && !t->is_server)
        say_hello(t);
    else if (t->phase == PHASE_START)
        t->phase = PHASE_HELLO;
    if (t->phase == PHASE_SIGNING && t->is_signed)
        signature_is_there(t);
    if (c->source.closed)
        return;
    flush(t);
    while (t->phase != PHASE_OPEN && t->phase != PHASE_FAILED && t->phase != PHASE_SIGNING) {
        enum err err = get_frame(t, &kind, &fields);
        if (err == ERR_AGAIN)
            break;
        if (err == ERR_INVALID)
            refuse(t, "unexpected message", "the other side spoke no TLS");
        else if (err != ERR_OK)
            finish(t, ERR_CLOSED,
                   err == ERR_CLOSED ? STR("the other side closed the connection during the TLS handshake")
                                     : STR("the connection broke during the TLS handshake"));
        else
            on_frame(t, kind, &fields);
        if (c->source.closed)
            return;
        flush(t);
    }
}

bool sim_tls_is_shaking(const struct conn *c)
{
    return c->tls != NULL && c->tls->phase < PHASE_OPEN;
}

bool sim_tls_is_ready(const struct conn *c, bool is_readable, bool is_writable)
{
    const struct sim_tls *t = c->tls;
    return t->is_due || (is_writable && t->n_out > 0) || (is_readable && t->phase != PHASE_SIGNING);
}

enum err sim_tls_end(const struct conn *c)
{
    return c->tls == NULL ? ERR_OK : sim_tls_is_shaking(c) ? ERR_AGAIN : c->tls->end;
}

void sim_tls_abandon(struct conn *c)
{
    struct sim_tls *t = c->tls;
    if (t == NULL)
        return;
    if (t->phase == PHASE_OPEN)
        t->phase = PHASE_FAILED;
    let_go(t);
}

static void on_deadline(struct sim_event *e)
{
    struct sim_tls *t = container_of(e, struct sim_tls, deadline);
    t->is_late = t->is_due = true;
    source_wake(&t->c->source);
}

/* ---- the table ---- */

static bool copy_start(struct sim_tls *t, const struct tls_start *s)
{
    must(s->n_names <= TLS_NAMES_MAX && s->alpn.n < 64 && s->server_name.n <= DNS_NAME_MAX);
    t->check = s->check;
    t->server_name = keep_text(t, s->server_name);
    t->alpn = keep_text(t, s->alpn);
    for (; t->n_names < s->n_names; t->n_names++)
        t->names[t->n_names] = keep_text(t, s->names[t->n_names]);
    for (; t->n_tlsa < s->n_tlsa && t->n_tlsa < TLS_TLSA_MAX; t->n_tlsa++) {
        t->tlsa[t->n_tlsa] = s->tlsa[t->n_tlsa];
        t->tlsa[t->n_tlsa].data = keep_text(t, s->tlsa[t->n_tlsa].data);
    }
    if (s->resume != NULL && s->check != TLS_CHECK_DANE && s->resume->context == s->context) {
        t->is_resuming = true;
        memcpy(t->resume, s->resume->ticket, sizeof t->resume);
    }
    return !t->texts.failed;
}

static enum err sim_tls_start(struct conn *c, bool is_server, const struct tls_start *s,
                              void (*fn)(void *arg, struct conn *c, enum err err, struct str why), void *arg)
{
    must(c->tls == NULL && !c->is_pipe && s->context->is_server == is_server);
    struct sim_tls *t = sim_make(struct sim_tls);
    *t = (struct sim_tls){.c = c, .is_server = is_server, .is_due = true, .fn = fn, .arg = arg};
    buf_init_fixed(&t->texts, t->mem, sizeof t->mem);
    t->deadline.fire = on_deadline;
    list_init(&t->signing);
    if (!is_server && !copy_start(t, s)) {
        mem_free(t);
        return ERR_NOMEM;
    }
    t->context = sim_context_keep(s->context);
    c->tls = t;
    sim_event_set(c->source.sim, &t->deadline, sim_host_mono_us(c->here, s->deadline_ms));
    source_wake(&c->source);
    return ERR_OK;
}

static void sim_tls_set_signer(struct world *w, const struct tls_signer *s)
{
    proc_of(w)->signer = *s;
}

static void sim_tls_signed(struct world *w, uint64_t token, enum err err, struct str signature)
{
    list_each (l, &proc_of(w)->tls_signing) {
        struct sim_tls *t = list_entry(l, struct sim_tls, signing);
        if (t->token != token)
            continue;
        list_remove(&t->signing);
        t->is_signed = t->is_due = true;
        t->sign_err =
            err == ERR_OK && (signature.n == 0 || signature.n > TLS_SIGNATURE_MAX) ? ERR_INVALID : err;
        source_wake(&t->c->source);
        return;
    }
}

static const struct sim_tls *open_of(const struct conn *c)
{
    return c->tls != NULL && c->tls->phase == PHASE_OPEN ? c->tls : NULL;
}

static const struct tls_facts *sim_tls_facts(const struct conn *c)
{
    return open_of(c) == NULL ? NULL : &c->tls->facts;
}

static enum tls_fault sim_tls_fault(const struct conn *c)
{
    return c->tls == NULL ? TLS_FAULT_NONE : c->tls->fault;
}

static bool sim_tls_exporter(const struct conn *c, unsigned char *out)
{
    const struct sim_tls *t = open_of(c);
    if (t != NULL)
        memcpy(out, t->secret, sizeof t->secret);
    return t != NULL;
}

/* Both know the server's certificate. */
static bool sim_tls_server_end_point(const struct conn *c, unsigned char *out, size_t *n_out)
{
    const struct sim_tls *t = open_of(c);
    if (t == NULL || (t->is_server && t->facts.is_resumed))
        return false;
    struct str chain = t->is_server ? chain_text(t->chosen) : t->server_chain;
    for (uint64_t i = 0; i < 4; i++)
        put_u64_at(out + 8 * i, str_ihash(chain, i));
    *n_out = 32;
    return true;
}

static struct tls_session *sim_tls_session(struct conn *c)
{
    const struct sim_tls *t = open_of(c);
    struct tls_session *s = t == NULL || !t->has_ticket ? NULL : mem_new(struct tls_session);
    if (s == NULL)
        return NULL;
    s->object.ops = &sim_world_ops;
    s->context = sim_context_keep(t->context);
    memcpy(s->ticket, t->ticket, sizeof s->ticket);
    return s;
}

static void sim_tls_session_free(struct tls_session *s)
{
    sim_context_release(s->context);
    mem_free(s);
}

const struct world_tls_ops sim_tls_ops = {
    .set_signer = sim_tls_set_signer,
    .tls_signed = sim_tls_signed,
    .server = sim_tls_server,
    .client = sim_tls_client,
    .context_keep = sim_context_keep,
    .context_release = sim_context_release,
    .start = sim_tls_start,
    .facts = sim_tls_facts,
    .fault = sim_tls_fault,
    .exporter = sim_tls_exporter,
    .server_end_point = sim_tls_server_end_point,
    .session = sim_tls_session,
    .session_free = sim_tls_session_free,
};
