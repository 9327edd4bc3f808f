/* service/tables/oauth.c: access tokens (RFC 6750, 7628) of users: whose they are, and whether they are
 * good.
 *
 * With public keys (jwks) a token is looked at here (token_keys.h). Keys are fetched when there are none,
 * when a token names one that is not there, which is how issuers begin to use new ones, and beside all
 * that after some minutes; while the issuer is away those of the last day count. Else he is asked about
 * each token (RFC 7662), and what he says is remembered for a minute.
 *
 * Owns:     questions with their tokens, keys, verdicts; requests that are under way.
 * Limits:   those of oauth.h; JWT_JSON_MAX, JWT_KEYS_JSON_MAX octets of an answer.
 * Errors:   an issuer who can't be asked, or gives no sense, is a temporary failure, with the reason for
 *           auth's log. What he refuses is told in the log here, without the token.
 * Security: the issuer's certificate is for the host of the configuration (ext/http.h). Answers are
 *           hostile octets all the same. Verdicts are found by a keyed hash of the token; tokens are
 *           wiped when they were answered, in our memory; the HTTP library has its own copy of a request,
 *           while it lasts.
 */
#include "service/tables/oauth.h"

#include "base/base64.h"
#include "base/idmap.h"
#include "base/mem.h"
#include "crypto/digest.h"
#include "crypto/secret.h"
#include "ext/json_bounds.h"
#include "proto/sasl_text.h"
#include "service/tables/token_keys.h"

#include <string.h>

enum {
    DIGEST_N = 32,
    CHUNK = 4096,
    BODY_MAX = 3 * SASL_TOKEN_MAX + 64,
    AUTHORIZATION_MAX = BASE64_SIZE(3 * (OAUTH_TEXT_MAX + SECRET_FILE_MAX) + 1) + 8,
};

enum keys_phase { KEYS_IDLE = 0, KEYS_HOST, KEYS_FETCH };
struct token_ask {
    struct list link;    /* oauth.asks: the oldest first */
    struct list waiting; /* oauth.waiting: for keys, or for a request of its own */
    struct oauth *oauth;
    struct fetch *fetch; /* NULL: there is none for it */
    uint64_t token, due_ms;
    struct str secret; /* the access token */
    uint8_t digest[DIGEST_MAX];
    size_t n_user;
    char user[SASL_NAME_MAX]; /* whom the client wants to be */
};
struct fetch { /* a request: for keys, or about one token */
    struct list link;
    struct oauth *oauth;
    struct token_ask *ask;    /* NULL: for keys, or nobody waits any more */
    bool is_for_keys, is_old; /* old: of another configuration */
};
struct verdict {                 /* that a token is good */
    struct idmap_node by_digest; /* its first octets */
    struct list by_age;
    uint64_t until_ms;
    uint8_t digest[DIGEST_N];
    size_t n_user;
    char user[SASL_NAME_MAX];
};
struct oauth {
    struct tables *tables;
    struct world *world;
    struct http_client *http;
    uint8_t key[DIGEST_N]; /* of digests */
    struct list asks, waiting, fetches, verdicts;
    size_t n_asks, n_asking; /* asking: introspections that are under way */
    struct idmap by_digest;
    struct table_host host;
    char host_name[DNS_NAME_MAX];
    struct timer due_timer;
    struct chunk_pool pool;
    struct token_keys keys;
    enum keys_phase keys_phase;
    uint64_t keys_at_ms;          /* when they came */
    unsigned keys_attempts;       /* that may be made now; see may_fetch() */
    uint64_t attempts_ms;         /* when it was last counted */
    bool has_failed;              /* the last attempt to fetch them */
    char keys_why[TABLE_WHY_MAX]; /* how */
};

static const struct oauth_conf *conf_of(const struct oauth *o)
{
    return &o->tables->env->config->oauth;
}

static struct token_rules rules_of(const struct oauth *o)
{
    const struct oauth_conf *c = conf_of(o);
    return (struct token_rules){
        .issuer = c->issuer, .audience = c->audience, .scope = c->scope, .claim = c->claim};
}

static int64_t now_s(const struct oauth *o)
{
    return world_wall_ms(o->world) / 1000;
}

/* ---- questions ------------------------------------------------------------------------------- */

static void set_due(struct oauth *o)
{
    if (list_is_empty(&o->asks))
        world_timer_cancel(o->world, &o->due_timer);
    else
        world_timer_set(o->world, &o->due_timer, list_entry(o->asks.next, struct token_ask, link)->due_ms);
}

static void ask_del(struct token_ask *a)
{
    if (a->fetch != NULL)
        a->fetch->ask = NULL;
    list_remove(&a->link);
    list_remove(&a->waiting);
    a->oauth->n_asks--;
    secret_free(&a->secret);
    mem_free(a);
}

static void answer_good(struct token_ask *a, struct str user)
{
    tables_say(a->oauth->tables, a->token, AUTH_OK, user, STR_NIL);
    ask_del(a);
}

/* Why: in words of ours. */
static void answer_bad(struct token_ask *a, struct str why)
{
    log_info(world_log(a->oauth->world), "login.token_refused", LS("user", str_of(a->user, a->n_user)),
             LS("why", why));
    tables_say(a->oauth->tables, a->token, AUTH_BAD, STR_NIL, STR_NIL);
    ask_del(a);
}

static void answer_later(struct token_ask *a, struct str why)
{
    char mem[ACME_URL_MAX + TABLE_WHY_MAX + 2];
    struct buf text;
    buf_init_fixed(&text, mem, sizeof mem);
    buf_put(&text, conf_of(a->oauth)->url);
    buf_puts(&text, ": ");
    buf_put(&text, str_slice(why, 0, TABLE_WHY_MAX));
    tables_say(a->oauth->tables, a->token, AUTH_TEMPORARY, STR_NIL, buf_str(&text));
    ask_del(a);
}

static void on_due(struct timer *t)
{
    struct oauth *o = container_of(t, struct oauth, due_timer);
    uint64_t now = world_now_ms(o->world);
    while (!list_is_empty(&o->asks)) {
        struct token_ask *a = list_entry(o->asks.next, struct token_ask, link);
        if (a->due_ms > now)
            break;
        answer_later(a, STR("no answer came in time"));
    }
    set_due(o);
}

/* Whom a claim may name: what a login may be called. */
static bool is_name(struct str user)
{
    return sasl_is_text_up_to(user, SASL_NAME_MAX);
}

/* ---- verdicts that are remembered ------------------------------------------------------------ */

static uint64_t id_of(const uint8_t *digest)
{
    return get_u64_at(digest);
}

static void verdict_del(struct oauth *o, struct verdict *v)
{
    (void)idmap_remove(&o->by_digest, v->by_digest.id);
    list_remove(&v->by_age);
    mem_free(v);
}

static struct verdict *verdict_find(struct oauth *o, const uint8_t *digest)
{
    struct idmap_node *n = idmap_find(&o->by_digest, id_of(digest));
    if (n == NULL)
        return NULL;
    struct verdict *v = container_of(n, struct verdict, by_digest);
    if (world_now_ms(o->world) < v->until_ms)
        return secret_eq(str_of(v->digest, DIGEST_N), str_of(digest, DIGEST_N)) ? v : NULL;
    verdict_del(o, v);
    return NULL;
}

static void verdict_put(struct oauth *o, const uint8_t *digest, struct str user, uint32_t life_s)
{
    uint64_t now = world_now_ms(o->world);
    list_each (l, &o->verdicts) {
        struct verdict *old = list_entry(l, struct verdict, by_age);
        if (old->until_ms > now && o->by_digest.n < OAUTH_CACHE_MAX && id_of(old->digest) != id_of(digest))
            continue;
        verdict_del(o, old);
    }
    struct verdict *v = life_s == 0 ? NULL : mem_new(struct verdict);
    if (v == NULL) /* it is asked about again */
        return;
    v->until_ms = now + (uint64_t)life_s * 1000;
    memcpy(v->digest, digest, DIGEST_N);
    memcpy(v->user, user.p, user.n);
    v->n_user = user.n;
    list_init(&v->by_age);
    list_push_back(&o->verdicts, &v->by_age);
    idmap_insert(&o->by_digest, &v->by_digest, id_of(digest));
}

/* ---- requests -------------------------------------------------------------------------------- */

static void on_http(void *arg, const struct http_answer *r);

static bool send_request(struct fetch *f, struct str body, struct str authorization, size_t size_max)
{
    struct oauth *o = f->oauth;
    const struct oauth_conf *c = conf_of(o);
    struct http_request q = {
        .url = c->url,
        .host = c->host,
        .port = c->port,
        .addresses = o->host.at,
        .n_addresses = o->host.n,
        .size_max = size_max,
        .timeout_ms = OAUTH_FETCH_MS,
        .is_post = !f->is_for_keys,
        .type = STR("application/x-www-form-urlencoded"),
        .body = body,
        .authorization = authorization,
    };
    return o->http != NULL && o->http->ask(o->http->self, &q, on_http, f);
}

static struct fetch *fetch_new(struct oauth *o, struct token_ask *a)
{
    struct fetch *f = mem_new(struct fetch);
    if (f == NULL)
        return NULL;
    *f = (struct fetch){.oauth = o, .ask = a, .is_for_keys = a == NULL};
    list_init(&f->link);
    list_push_back(&o->fetches, &f->link);
    o->n_asking += a != NULL;
    if (a != NULL)
        a->fetch = f;
    return f;
}

static void fetch_del(struct fetch *f)
{
    if (f->ask != NULL)
        f->ask->fetch = NULL;
    f->oauth->n_asking -= !f->is_for_keys;
    list_remove(&f->link);
    mem_free(f);
}

/* What is wrong with an answer that is none, into why; false: nothing is. Some of it is the server's. */
static bool has_failed(const struct http_answer *r, struct buf *why)
{
    if (r->status == HTTP_ANSWERED && r->code == 200)
        return false;
    if (r->status != HTTP_ANSWERED)
        buf_printf(why, "%s: ", r->status == HTTP_INSECURE ? "it is not authenticated" : "it can't be asked");
    else
        buf_printf(why, "it answered with code %u%s", r->code,
                   r->code == 401 || r->code == 403 ? ": does it know our client and secret?" : "");
    for (size_t i = 0; r->status != HTTP_ANSWERED && i < r->why.n && why->n < why->max; i++)
        buf_putc(why, r->why.p[i] < ' ' || r->why.p[i] > '~' ? '?' : r->why.p[i]);
    return true;
}

/* ---- introspection --------------------------------------------------------------------------- */

static void pump(struct oauth *o);

static void put_encoded(struct buf *out, struct str s)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (ascii_is_alnum(s.p[i]) || (c != '\0' && strchr("-._*", (char)c) != NULL)) {
            buf_putc(out, s.p[i]);
            continue;
        }
        buf_putc(out, '%');
        buf_putc(out, digits[c >> 4]);
        buf_putc(out, digits[c & 15]);
    }
}

/* RFC 6749 2.3.1: both are encoded, then joined. */
static bool put_authorization(const struct oauth *o, struct str secret, struct buf *out)
{
    char mem[3 * (OAUTH_TEXT_MAX + SECRET_FILE_MAX) + 1];
    struct buf pair;
    buf_init_fixed(&pair, mem, sizeof mem);
    put_encoded(&pair, conf_of(o)->client);
    buf_putc(&pair, ':');
    put_encoded(&pair, secret);
    bool ok = !pair.failed && buf_puts(out, "Basic ") && base64_put(out, buf_str(&pair));
    secret_wipe(mem, sizeof mem);
    return ok;
}

static void introspect(struct token_ask *a)
{
    struct oauth *o = a->oauth;
    struct str secret = tables_secret(o->tables, conf_of(o)->secret);
    struct buf body, authorization;
    list_remove(&a->waiting);
    if (secret.n == 0) {
        answer_later(a, STR("the file with our secret could not be read, or is empty"));
        return;
    }
    buf_init(&body, BODY_MAX);
    buf_init(&authorization, AUTHORIZATION_MAX);
    struct fetch *f = fetch_new(o, a);
    bool ok = f != NULL && buf_reserve(&body, BODY_MAX) && buf_reserve(&authorization, AUTHORIZATION_MAX);
    if (ok) {
        buf_puts(&body, "token=");
        put_encoded(&body, a->secret);
        buf_puts(&body, "&token_type_hint=access_token");
        ok = put_authorization(o, secret, &authorization) && !body.failed &&
             send_request(f, buf_str(&body), buf_str(&authorization), JWT_JSON_MAX);
    }
    secret_wipe_buf(&body);
    secret_wipe_buf(&authorization);
    buf_fini(&body);
    buf_fini(&authorization);
    if (ok)
        return;
    if (f != NULL)
        fetch_del(f);
    answer_later(a, STR("no memory, or too many requests are under way"));
}

static void on_introspected(struct token_ask *a, struct str json)
{
    struct oauth *o = a->oauth;
    struct token_rules rules = rules_of(o);
    struct token_claims c;
    struct arena arena;
    char mem[TABLE_WHY_MAX];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    buf_puts(&why, "its answer is malformed: ");
    arena_init(&arena, &o->pool, JWT_ARENA_MAX);
    if (!jwt_read_claims(json, rules.claim, &arena, &c, &why)) {
        answer_later(a, buf_str(&why));
    } else if (c.active == TOKEN_UNSAID) {
        answer_later(a, STR("its answer does not say whether the token is active"));
    } else {
        const char *problem = token_judge(&rules, &c, false, now_s(o));
        if (problem == NULL && !is_name(c.user))
            problem = "whom it is for is no name that a user can have";
        if (problem == NULL) {
            /* of the second that has begun nobody knows how much is left */
            verdict_put(o, a->digest, c.user, token_life_s(&c, now_s(o) + 1, OAUTH_CACHE_S));
            answer_good(a, c.user);
        } else {
            answer_bad(a, str_from_c(problem));
        }
    }
    arena_reset(&arena);
}

/* As many as may be asked about at a time. */
static void pump(struct oauth *o)
{
    if (conf_of(o)->by != OAUTH_INTROSPECTION)
        return;
    while (!list_is_empty(&o->waiting) && o->n_asking < OAUTH_FETCHES_MAX && table_host_want(&o->host))
        introspect(list_entry(o->waiting.next, struct token_ask, waiting));
}

static void ask_issuer(struct token_ask *a)
{
    struct oauth *o = a->oauth;
    const struct str piece = a->secret;
    if (digest_hmac(o->tables->crypto, DIGEST_SHA256, str_of(o->key, sizeof o->key), &piece, 1, a->digest) !=
        ERR_OK) {
        answer_later(a, STR("no memory"));
        return;
    }
    const struct verdict *v = verdict_find(o, a->digest);
    if (v != NULL) {
        answer_good(a, str_of(v->user, v->n_user));
        return;
    }
    list_push_back(&o->waiting, &a->waiting);
    pump(o);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void look(struct token_ask *a, bool is_last);

/* Tokens may name whatever keys they like: some attempts may be made at once, others have to wait for time to
 * give one back. */
static bool may_fetch(struct oauth *o)
{
    uint64_t n = (world_now_ms(o->world) - o->attempts_ms) / OAUTH_KEYS_AGAIN_MS;
    o->attempts_ms += n * OAUTH_KEYS_AGAIN_MS;
    o->keys_attempts =
        n + o->keys_attempts < OAUTH_KEYS_ATTEMPTS ? (unsigned)n + o->keys_attempts : OAUTH_KEYS_ATTEMPTS;
    return o->keys_attempts > 0;
}

/* An attempt is over. why empty: there are new ones. Who waits is looked at once more, and not for longer. */
static void keys_settled(struct oauth *o, struct str why)
{
    uint64_t now = world_now_ms(o->world);
    struct list again;
    o->keys_phase = KEYS_IDLE;
    o->has_failed = why.n > 0;
    (void)str_to_c(str_slice(why, 0, sizeof o->keys_why - 1), o->keys_why, sizeof o->keys_why);
    if (o->has_failed) {
        log_warn(world_log(o->world), "oauth.keys_not_fetched", LS("url", conf_of(o)->url), LS("why", why),
                 LC("kept", o->keys.n > 0 ? "those that came before, for a day" : "none"));
    } else {
        o->keys_at_ms = now;
        log_info(world_log(o->world), "oauth.keys_fetched", LS("url", conf_of(o)->url), LU("n", o->keys.n));
    }
    list_init(&again);
    while (!list_is_empty(&o->waiting)) {
        struct list *l = o->waiting.next;
        list_remove(l);
        list_push_back(&again, l);
    }
    while (!list_is_empty(&again)) {
        struct token_ask *a = list_entry(again.next, struct token_ask, waiting);
        list_remove(&a->waiting);
        look(a, true);
    }
    set_due(o);
}

static void on_keys(struct oauth *o, struct str json)
{
    char mem[TABLE_WHY_MAX];
    struct buf why;
    struct arena arena;
    buf_init_fixed(&why, mem, sizeof mem);
    arena_init(&arena, &o->pool, JWT_ARENA_MAX);
    if (!token_keys_load(&o->keys, o->tables->crypto, json, &arena, &why) && why.n == 0)
        buf_puts(&why, "no memory");
    arena_reset(&arena);
    keys_settled(o, buf_str(&why));
}

static void keys_fetch(struct oauth *o)
{
    struct fetch *f = fetch_new(o, NULL);
    o->keys_phase = KEYS_FETCH;
    if (f != NULL && send_request(f, STR_NIL, STR_NIL, JWT_KEYS_JSON_MAX))
        return;
    if (f != NULL)
        fetch_del(f);
    keys_settled(o, STR("no memory, or too many requests are under way"));
}

static void keys_want(struct oauth *o)
{
    if (o->keys_phase != KEYS_IDLE || !may_fetch(o))
        return;
    o->keys_attempts--;
    o->keys_phase = KEYS_HOST;
    if (table_host_want(&o->host))
        keys_fetch(o);
}

/* None of the keys that there are has made it; is_last: nor has one of those that have just come. */
static void look_later(struct token_ask *a, bool is_last, struct str why)
{
    struct oauth *o = a->oauth;
    char mem[TABLE_WHY_MAX + 32];
    struct buf text;
    if (!is_last && (o->keys_phase != KEYS_IDLE || may_fetch(o))) {
        list_push_back(&o->waiting, &a->waiting); /* first: it may be answered at once */
        keys_want(o);
    } else if (o->has_failed) {
        buf_init_fixed(&text, mem, sizeof mem);
        buf_puts(&text, "its keys can't be had: ");
        buf_puts(&text, o->keys_why);
        answer_later(a, buf_str(&text));
    } else {
        answer_bad(a, why);
    }
}

static void look(struct token_ask *a, bool is_last)
{
    struct oauth *o = a->oauth;
    struct token_rules rules = rules_of(o);
    struct token_claims c;
    struct arena arena;
    char mem[TABLE_WHY_MAX];
    struct buf why;
    uint64_t age_ms = world_now_ms(o->world) - o->keys_at_ms;
    if (age_ms > OAUTH_KEYS_STALE_MS)
        token_keys_clear(&o->keys);
    bool is_fresh = o->keys.n > 0 && age_ms <= OAUTH_KEYS_FRESH_MS;
    buf_init_fixed(&why, mem, sizeof mem);
    arena_init(&arena, &o->pool, JWT_ARENA_MAX);
    enum token_says says = token_keys_judge(&o->keys, a->secret, &rules, now_s(o), &arena, &c, &why);
    if (says == TOKEN_IS_GOOD && is_name(c.user))
        answer_good(a, c.user);
    else if (says == TOKEN_IS_GOOD)
        answer_bad(a, STR("whom it is for is no name that a user can have"));
    else if (says == TOKEN_IS_BAD)
        answer_bad(a, buf_str(&why));
    else if (says == TOKEN_OF_NO_KEY)
        look_later(a, is_last, buf_str(&why));
    else
        answer_later(a, buf_str(&why));
    arena_reset(&arena);
    if (!is_fresh && !is_last && o->keys.n > 0)
        keys_want(o);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void on_http(void *arg, const struct http_answer *r)
{
    struct fetch *f = arg;
    struct oauth *o = f->oauth;
    struct token_ask *a = f->ask;
    bool is_for_keys = f->is_for_keys, is_old = f->is_old;
    char mem[TABLE_WHY_MAX];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    bool failed = has_failed(r, &why);
    fetch_del(f);
    if (is_for_keys && !is_old && failed)
        keys_settled(o, buf_str(&why));
    else if (is_for_keys && !is_old)
        on_keys(o, r->body);
    else if (a != NULL && failed)
        answer_later(a, buf_str(&why));
    else if (a != NULL) /* it was answered when the configuration changed */
        on_introspected(a, r->body);
    pump(o);
    set_due(o);
    tables_look_drained(o->tables);
}

static void on_host(struct table_host *h)
{
    struct oauth *o = container_of(h, struct oauth, host);
    struct str why = h->n > 0 ? STR_NIL : str_from_c(h->why);
    if (o->keys_phase == KEYS_HOST && h->n > 0)
        keys_fetch(o);
    else if (o->keys_phase == KEYS_HOST)
        keys_settled(o, why);
    while (h->n == 0 && conf_of(o)->by == OAUTH_INTROSPECTION && !list_is_empty(&o->waiting))
        answer_later(list_entry(o->waiting.next, struct token_ask, waiting), why);
    pump(o);
    set_due(o);
    tables_look_drained(o->tables);
}

bool oauth_ask(struct oauth *o, const struct ipc_auth_ask *m)
{
    if (m->kind != AUTH_TOKEN || m->file.n > 0 || m->user.n > SASL_NAME_MAX || m->secret.n == 0 ||
        m->secret.n > SASL_TOKEN_MAX)
        return false;
    bool is_on = conf_of(o)->by != OAUTH_NONE;
    struct token_ask *a = is_on && o->n_asks < OAUTH_ASKS_MAX ? mem_new(struct token_ask) : NULL;
    if (a == NULL || !secret_copy(m->secret, &a->secret)) {
        mem_free(a);
        tables_say(o->tables, m->token, AUTH_TEMPORARY, STR_NIL,
                   is_on ? STR("too many tokens wait to be looked at")
                         : STR("no issuer of tokens is configured"));
        return true;
    }
    a->oauth = o;
    a->token = m->token;
    a->due_ms = world_now_ms(o->world) + OAUTH_ANSWER_MS;
    a->n_user = m->user.n;
    if (m->user.n > 0)
        memcpy(a->user, m->user.p, m->user.n);
    list_init(&a->link);
    list_init(&a->waiting);
    list_push_back(&o->asks, &a->link);
    o->n_asks++;
    if (conf_of(o)->by == OAUTH_JWKS)
        look(a, false);
    else
        ask_issuer(a);
    set_due(o);
    return true;
}

void oauth_auth_gone(struct oauth *o)
{
    list_each (l, &o->asks)
        ask_del(list_entry(l, struct token_ask, link));
    set_due(o);
}

bool oauth_is_idle(const struct oauth *o)
{
    return o->n_asks == 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool is_same(const struct oauth_conf *a, const struct oauth_conf *b)
{
    return a->by == b->by && str_eq(a->issuer, b->issuer) && str_eq(a->url, b->url) &&
           str_eq(a->client, b->client) && str_eq(a->secret, b->secret) && str_eq(a->audience, b->audience) &&
           str_eq(a->scope, b->scope) && str_eq(a->claim, b->claim);
}

/* What was of another configuration. */
static void forget(struct oauth *o)
{
    list_each (l, &o->asks)
        answer_later(list_entry(l, struct token_ask, link), STR("the configuration has changed"));
    list_each (l, &o->fetches)
        list_entry(l, struct fetch, link)->is_old = true;
    list_each (l, &o->verdicts)
        verdict_del(o, list_entry(l, struct verdict, by_age));
    token_keys_clear(&o->keys);
    o->keys_phase = KEYS_IDLE;
    o->keys_attempts = OAUTH_KEYS_ATTEMPTS;
    o->attempts_ms = world_now_ms(o->world);
    o->has_failed = false;
    set_due(o);
}

void oauth_configure(struct oauth *o, const struct oauth_conf *old)
{
    const struct oauth_conf *c = conf_of(o);
    if (o->http != NULL)
        o->http->trust(o->http->self, o->tables->env->config->authorities);
    if (old != NULL && is_same(old, c))
        return;
    struct netaddr at = {.kind = NETADDR_NONE, .port = c->port};
    must(c->host.n <= sizeof o->host_name);
    if (old != NULL)
        table_host_fini(&o->host);
    forget(o);
    if (c->host.n > 0)
        memcpy(o->host_name, c->host.p, c->host.n);
    table_host_init(&o->host, o->tables, str_of(o->host_name, c->host.n), &at, on_host);
}

struct oauth *oauth_new(struct tables *t, struct http_client *http)
{
    struct oauth *o = mem_new(struct oauth);
    uint64_t seed;
    if (o == NULL || !idmap_init(&o->by_digest)) {
        mem_free(o);
        return NULL;
    }
    o->tables = t;
    o->world = t->world;
    o->http = http;
    o->due_timer.fire = on_due;
    list_init(&o->asks);
    list_init(&o->waiting);
    list_init(&o->fetches);
    list_init(&o->verdicts);
    chunk_pool_init(&o->pool, CHUNK, 2 * JWT_ARENA_MAX / CHUNK);
    world_random(t->world, o->key, sizeof o->key);
    world_random(t->world, &seed, sizeof seed);
    json_seed(seed);
    oauth_configure(o, NULL);
    return o;
}

void oauth_del(struct oauth **op)
{
    struct oauth *o = *op;
    if (o == NULL)
        return;
    oauth_auth_gone(o);
    forget(o);
    list_each (l, &o->fetches)
        fetch_del(list_entry(l, struct fetch, link));
    table_host_fini(&o->host);
    world_timer_cancel(o->world, &o->due_timer);
    idmap_fini(&o->by_digest);
    chunk_pool_fini(&o->pool);
    secret_wipe(o->key, sizeof o->key);
    mem_free(o);
    *op = NULL;
}
