/* The tables role with tokens: what it asks the issuer, what it remembers, what it says to auth. The world,
 * its channels and the HTTP client are the test's. */
#include "service/tables/oauth.h"

#include "base/mem.h"
#include "base/rand.h"
#include "crypto/jws_testing.h"
#include "ipc/lists.h"
#include "service/tables/token_keys.h"

#include <string.h>

enum { TIMERS_MAX = 8, REQUESTS_MAX = 64, SENT_MAX = 512, WALL_S = 1800000000 };

struct handle {
    struct world_object object;
    struct str blob;
};
struct channel {
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_closed, is_full;
    size_t n_sent, n_seen;
    struct sent {
        uint16_t type;
        size_t n;
        char bytes[512];
    } sent[SENT_MAX];
};
struct request { /* to the issuer */
    struct http_request q;
    char url[128], body[256], authorization[256];
    void (*fn)(void *arg, const struct http_answer *a);
    void *arg;
    bool is_open;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    struct rng rng;
    uint64_t now_ms;
    struct config config, config2;
    struct role_env env;
    struct table_drivers drivers;
    struct http_client http;
    struct request requests[REQUESTS_MAX];
    size_t n_requests;
    bool is_http_full;
    struct str trusted;
    struct channel auth, lookup, admin;
    unsigned n_ready, n_drained;
    void *self;
    struct {
        struct timer *timer;
        uint64_t due_ms;
    } timers[TIMERS_MAX];
    size_t n_timers;
    struct buf log_text, token, json;
    struct jws_pair key, other;
};

static struct fixture *the;

/* ---- boot, world ----------------------------------------------------------------------------- */

void role_ready(struct role_env *env)
{
    UNUSED(env);
    the->n_ready++;
}

void role_fail(struct role_env *env, struct str reason)
{
    UNUSED(env);
    fail_msg("%.*s", STR_FMT(reason));
}

void role_drained(struct role_env *env)
{
    UNUSED(env);
    the->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    UNUSED(env);
    UNUSED(old);
}

#include "service/boot/role_testing.h"

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return the->now_ms;
}

static int64_t wall_ms(const struct world *w)
{
    UNUSED(w);
    return (int64_t)WALL_S * 1000 + (int64_t)the->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    UNUSED(w);
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&the->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    UNUSED(w);
    size_t i = 0;
    while (i < the->n_timers && the->timers[i].timer != t)
        i++;
    assert_true(i < TIMERS_MAX);
    the->timers[i].timer = t;
    the->timers[i].due_ms = due_ms;
    the->n_timers = i == the->n_timers ? i + 1 : the->n_timers;
    t->is_set = true;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static void pass(uint64_t ms)
{
    the->now_ms += ms;
    for (size_t i = 0; i < the->n_timers; i++) {
        if (!the->timers[i].timer->is_set || the->timers[i].due_ms > the->now_ms)
            continue;
        the->timers[i].timer->is_set = false;
        the->timers[i].timer->fire(the->timers[i].timer);
    }
}

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    if (c->is_full)
        return ERR_AGAIN;
    if (type == IPC_COUNTERS)
        return ERR_OK;
    assert_true(c->n_sent < SENT_MAX && payload.n <= sizeof c->sent[0].bytes);
    struct sent *s = &c->sent[c->n_sent++];
    *s = (struct sent){.type = type, .n = payload.n};
    memcpy(s->bytes, payload.p, payload.n);
    return ERR_OK;
}

static size_t backlog(const struct channel *c)
{
    UNUSED(c);
    return 0;
}

static void set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void pause_channel(struct channel *c, bool is_paused)
{
    UNUSED(c);
    UNUSED(is_paused);
}

static bool take_blob(struct world *w, struct handle *h, struct blob *out)
{
    UNUSED(w);
    *out = (struct blob){h == NULL ? STR_NIL : h->blob, NULL};
    return h != NULL;
}

static void free_blob(struct blob *b)
{
    UNUSED(b);
}

static enum err no_workers(struct world *w, unsigned n, struct workers **out)
{
    static struct world_object object;
    UNUSED(n);
    object.ops = w->ops;
    *out = (struct workers *)(void *)&object;
    return ERR_OK;
}

static void close_workers(struct workers *p)
{
    UNUSED(p);
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .wall_ms = wall_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .channel_send = send_to_test,
                                     .channel_backlog = backlog,
                                     .channel_set_user = set_user,
                                     .channel_pause = pause_channel,
                                     .handle_take_blob = take_blob,
                                     .blob_free = free_blob,
                                     .workers = no_workers,
                                     .workers_close = close_workers};

/* ---- the issuer ------------------------------------------------------------------------------ */

static bool http_ask(void *self, const struct http_request *q,
                     void (*fn)(void *arg, const struct http_answer *a), void *arg)
{
    UNUSED(self);
    if (the->is_http_full)
        return false;
    assert_true(the->n_requests < REQUESTS_MAX);
    struct request *r = &the->requests[the->n_requests++];
    *r = (struct request){.q = *q, .fn = fn, .arg = arg, .is_open = true};
    assert_true(str_to_c(q->url, r->url, sizeof r->url) && str_to_c(q->body, r->body, sizeof r->body) &&
                str_to_c(q->authorization, r->authorization, sizeof r->authorization));
    assert_true(q->n_addresses == 1 && q->addresses[0].kind == NETADDR_IP4);
    assert_true(str_eq(q->host, STR("id.test")));
    return true;
}

static void http_trust(void *self, struct str anchors)
{
    UNUSED(self);
    the->trusted = anchors;
}

static void respond(size_t i, const struct http_answer *a)
{
    assert_true(i < the->n_requests && the->requests[i].is_open);
    the->requests[i].is_open = false;
    the->requests[i].fn(the->requests[i].arg, a);
}

static void answers(size_t i, unsigned code, const char *body)
{
    respond(i, &(struct http_answer){.status = HTTP_ANSWERED, .code = code, .body = str_from_c(body)});
}

/* Keys of one pair. */
static void answers_key(size_t i, const struct jws_pair *p, const char *kid)
{
    char rest[64];
    struct buf b;
    buf_init_fixed(&b, rest, sizeof rest);
    buf_printf(&b, ",\"kid\":\"%s\"", kid);
    buf_putc(&b, '\0');
    buf_reset(&the->json);
    buf_puts(&the->json, "{\"keys\":[");
    jws_put_jwk(&the->json, p, rest);
    buf_puts(&the->json, "]}");
    buf_putc(&the->json, '\0');
    answers(i, 200, the->json.p);
}

/* ---- the house ------------------------------------------------------------------------------- */

static void log_line(void *arg, struct str line)
{
    UNUSED(arg);
    assert_true(buf_put(&the->log_text, line));
}

static bool trust(void *self, struct str anchors)
{
    UNUSED(self);
    UNUSED(anchors);
    return true;
}

static const struct oauth_conf by_keys = {.by = OAUTH_JWKS,
                                          .issuer = STR_INIT("https://id.test"),
                                          .url = STR_INIT("https://id.test/keys"),
                                          .host = STR_INIT("id.test"),
                                          .audience = STR_INIT("waxwing"),
                                          .claim = STR_INIT("email")};
static const struct oauth_conf by_asking = {.by = OAUTH_INTROSPECTION,
                                            .issuer = STR_INIT("https://id.test"),
                                            .url = STR_INIT("https://id.test:8443/ask"),
                                            .host = STR_INIT("id.test"),
                                            .port = 8443,
                                            .client = STR_INIT("wax wing"),
                                            .secret = STR_INIT("/secret"),
                                            .claim = STR_INIT("email")};

static void start(const struct oauth_conf *c)
{
    the->config.oauth = *c;
    the->self = tables_role.create(&the->env);
    assert_non_null(the->self);
    assert_int_equal(the->n_ready, 1);
}

static void give_channel(enum role who, struct channel *c)
{
    c->object.ops = &ops;
    the->env.peers[who][0] = c;
}

static int setup(void **state)
{
    the = mem_must_new(struct fixture);
    buf_init(&the->log_text, 1 << 20);
    buf_init(&the->token, 1 << 16);
    buf_init(&the->json, 1 << 16);
    jws_pair_of(&the->key, jws_pair_make(JWK_ED25519), JWK_ED25519);
    jws_pair_of(&the->other, jws_pair_make(JWK_ED25519), JWK_ED25519);
    the->log = (struct log){.write = log_line};
    the->world = (struct world){.ops = &ops, .log = &the->log};
    rng_seed(&the->rng, 7);
    the->now_ms = 1000;
    the->http = (struct http_client){.ask = http_ask, .trust = http_trust};
    the->drivers = (struct table_drivers){.trust = trust, .http = &the->http};
    the->config.authorities = STR("the ca");
    the->env = (struct role_env){
        .world = &the->world, .role = ROLE_TABLES, .config = &the->config, .ext = &the->drivers};
    give_channel(ROLE_AUTH, &the->auth);
    give_channel(ROLE_LOOKUP, &the->lookup);
    give_channel(ROLE_ADMIN, &the->admin);
    *state = the;
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    tables_role.del(the->self);
    EVP_PKEY_free(the->key.pkey);
    EVP_PKEY_free(the->other.pkey);
    buf_fini(&the->log_text);
    buf_fini(&the->token);
    buf_fini(&the->json);
    mem_free(the);
    return 0;
}

static void say(struct channel *c, uint16_t type, const struct buf *payload)
{
    assert_false(payload->failed || c->is_closed);
    c->user->on_message(c->arg, c, type, buf_str(payload), NULL);
}

static void ask(uint64_t number, const char *token, const char *user)
{
    char mem[16384];
    struct buf b;
    struct ipc_auth_ask m = {
        .token = number, .kind = AUTH_TOKEN, .user = str_from_c(user), .secret = str_from_c(token)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_auth_ask(&m, &b));
    say(&the->auth, IPC_AUTH_ASK, &b);
}

/* lookup has its first question, and says this. */
static void lookup_says(enum dns_status status)
{
    char mem[512], list_mem[64];
    struct buf b, list;
    struct ipc_host_ask asked;
    struct netaddr at;
    assert_int_equal(the->lookup.n_seen + 1, the->lookup.n_sent);
    const struct sent *s = &the->lookup.sent[the->lookup.n_seen++];
    assert_true(s->type == IPC_HOST_ASK && ipc_decode_host_ask(str_of(s->bytes, s->n), &asked));
    assert_true(str_eq(asked.name, STR("id.test")));
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    assert_true(netaddr_parse_ip(STR("192.0.2.7"), 0, &at));
    if (status == DNS_STATUS_OK)
        list_put_addr(&list, &at);
    struct ipc_host_answer m = {.token = asked.token,
                                .status = (uint8_t)status,
                                .ttl_s = 86400,
                                .addresses = buf_str(&list),
                                .why = STR("dns says")};
    assert_true(ipc_encode_host_answer(&m, &b));
    say(&the->lookup, IPC_HOST_ANSWER, &b);
}

static void check_nothing_said(void)
{
    assert_int_equal(the->auth.n_seen, the->auth.n_sent);
}

/* user: whose it is, or, where it is temporary, a part of why. */
static void check_said(uint64_t number, enum auth_verdict verdict, const char *user)
{
    struct ipc_auth_answer m;
    assert_true(the->auth.n_seen < the->auth.n_sent);
    const struct sent *s = &the->auth.sent[the->auth.n_seen++];
    assert_int_equal(s->type, IPC_AUTH_ANSWER);
    assert_true(ipc_decode_auth_answer(str_of(s->bytes, s->n), &m));
    if (m.token != number || m.verdict != verdict)
        fail_msg("%d: verdict %d, %.*s", (int)m.token, m.verdict, STR_FMT(m.why));
    if (verdict == AUTH_TEMPORARY && str_find(m.why, str_from_c(user)) == STR_NPOS)
        fail_msg("%.*s and not %s", STR_FMT(m.why), user);
    if (verdict != AUTH_TEMPORARY && !str_eq(m.user, str_from_c(user)))
        fail_msg("%.*s and not %s", STR_FMT(m.user), user);
}

static void check_logged(const char *text)
{
    if (str_find(buf_str(&the->log_text), str_from_c(text)) == STR_NPOS)
        fail_msg("no %s in %.*s", text, STR_FMT(buf_str(&the->log_text)));
    buf_reset(&the->log_text);
}

static const char *signed_by(const struct jws_pair *p, const char *kid)
{
    char header[64];
    struct buf b;
    buf_init_fixed(&b, header, sizeof header);
    buf_printf(&b, "{\"alg\":\"EdDSA\",\"kid\":\"%s\"}", kid);
    buf_putc(&b, '\0');
    jws_put_token(
        &the->token, p, header,
        "{\"iss\":\"https://id.test\",\"aud\":\"waxwing\",\"exp\":1900000000,\"email\":\"joe@here.test\"}");
    buf_putc(&the->token, '\0');
    return the->token.p;
}

static void give_secret(const char *octets)
{
    char mem[64];
    struct buf b;
    struct handle h = {.blob = str_from_c(octets)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_sup_secret(&(struct ipc_sup_secret){STR("/secret")}, &b));
    tables_role.from_super(the->self, IPC_SUP_SECRET, buf_str(&b), &h);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void keys_come_before_the_first_answer(void **state)
{
    UNUSED(state);
    start(&by_keys);
    assert_true(str_eq(the->trusted, STR("the ca")));
    ask(1, signed_by(&the->key, "a"), "");
    ask(2, "garbage", "joe");
    check_said(2, AUTH_BAD, "");
    check_logged("login.token_refused user=joe why=\"it is no signed JSON Web Token\"");
    check_nothing_said();
    assert_int_equal(the->n_requests, 0);
    lookup_says(DNS_STATUS_OK);
    assert_int_equal(the->n_requests, 1);
    const struct request *r = &the->requests[0];
    assert_string_equal(r->url, "https://id.test/keys");
    assert_false(r->q.is_post);
    assert_true(r->authorization[0] == '\0' && r->q.port == 0 && r->q.size_max == JWT_KEYS_JSON_MAX);
    ask(3, signed_by(&the->other, "a"), ""); /* waits for the same keys */
    answers_key(0, &the->key, "a");
    check_said(1, AUTH_OK, "joe@here.test");
    check_said(3, AUTH_BAD, "");
    check_logged("signature is wrong");
    ask(4, signed_by(&the->key, "a"), "");
    check_said(4, AUTH_OK, "joe@here.test");
    assert_int_equal(the->n_requests, 1);
}

static void keys_that_cannot_be_had(void **state)
{
    UNUSED(state);
    static const struct {
        struct http_answer answer;
        const char *why;
    } rows[] = {
        {{.status = HTTP_UNREACHABLE, .why = STR_INIT("refused\x1b[2J")},
         "https://id.test/keys: its keys can't be had: it can't be asked: refused?[2J"},
        {{.status = HTTP_TIMEOUT, .why = STR_INIT("too slow")}, "too slow"},
        {{.status = HTTP_INSECURE, .why = STR_INIT("self-signed")}, "it is not authenticated: self-signed"},
        {{.status = HTTP_TOO_BIG, .why = STR_INIT("too long")}, "too long"},
        {{.status = HTTP_ANSWERED, .code = 301}, "it answered with code 301"},
        {{.status = HTTP_ANSWERED, .code = 200, .body = STR_INIT("<html>")}, "no JSON"},
        {{.status = HTTP_ANSWERED, .code = 200, .body = STR_INIT("{\"keys\":[]}")}, "no key that is of use"},
    };
    start(&by_keys);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask(i, signed_by(&the->key, "a"), "");
        if (i == 0)
            lookup_says(DNS_STATUS_OK);
        respond(i, &rows[i].answer);
        check_said(i, AUTH_TEMPORARY, rows[i].why);
        check_logged("oauth.keys_not_fetched");
        pass(OAUTH_KEYS_AGAIN_MS);
    }
    ask(9, signed_by(&the->key, "a"), "");
    answers_key(ARRAY_LEN(rows), &the->key, "a");
    check_said(9, AUTH_OK, "joe@here.test");
    check_logged("oauth.keys_fetched");
}

static void a_name_without_addresses(void **state)
{
    UNUSED(state);
    start(&by_keys);
    ask(1, signed_by(&the->key, "a"), "");
    lookup_says(DNS_STATUS_NXDOMAIN);
    check_said(1, AUTH_TEMPORARY, "no address (DNS: dns says)");
    ask(2, signed_by(&the->key, "a"), "");
    pass(OAUTH_ANSWER_MS); /* lookup says nothing */
    check_said(2, AUTH_TEMPORARY, "no answer came in time");
    lookup_says(DNS_STATUS_OK);
    answers_key(0, &the->key, "a"); /* for who comes next */
    check_nothing_said();
    ask(3, signed_by(&the->key, "a"), "");
    check_said(3, AUTH_OK, "joe@here.test");
}

/* New keys are looked for as soon as a token names one, but not without end. */
static void keys_that_are_not_known(void **state)
{
    UNUSED(state);
    start(&by_keys);
    ask(1, signed_by(&the->key, "a"), "");
    lookup_says(DNS_STATUS_OK);
    answers_key(0, &the->key, "a");
    check_said(1, AUTH_OK, "joe@here.test");
    ask(2, signed_by(&the->other, "b"), "");
    assert_int_equal(the->n_requests, 2);
    check_nothing_said();
    ask(3, signed_by(&the->key, "a"), ""); /* the others go on */
    check_said(3, AUTH_OK, "joe@here.test");
    answers_key(1, &the->other, "b");
    check_said(2, AUTH_OK, "joe@here.test");
    ask(4, signed_by(&the->key, "a"), ""); /* it has been taken back */
    answers_key(2, &the->other, "b");
    check_said(4, AUTH_BAD, "");
    for (size_t i = 3; i < OAUTH_KEYS_ATTEMPTS; i++) {
        ask(10, signed_by(&the->key, "c"), "");
        answers_key(i, &the->other, "b");
        check_said(10, AUTH_BAD, "");
    }
    for (size_t i = 0; i < 50; i++) {
        ask(11, signed_by(&the->key, "c"), "");
        check_said(11, AUTH_BAD, "");
    }
    assert_int_equal(the->n_requests, OAUTH_KEYS_ATTEMPTS);
    pass(OAUTH_KEYS_AGAIN_MS - 1);
    ask(12, signed_by(&the->key, "c"), "");
    check_said(12, AUTH_BAD, "");
    pass(1);
    ask(13, signed_by(&the->key, "c"), "");
    assert_int_equal(the->n_requests, OAUTH_KEYS_ATTEMPTS + 1);
    answers(OAUTH_KEYS_ATTEMPTS, 500, "");
    check_said(13, AUTH_TEMPORARY, "code 500"); /* it may be a good one */
    ask(14, signed_by(&the->key, "c"), "");
    check_said(14, AUTH_TEMPORARY, "code 500");
    ask(15, signed_by(&the->other, "b"), "");
    check_said(15, AUTH_OK, "joe@here.test");
}

static void keys_that_get_old(void **state)
{
    UNUSED(state);
    start(&by_keys);
    ask(1, signed_by(&the->key, "a"), "");
    lookup_says(DNS_STATUS_OK);
    answers_key(0, &the->key, "a");
    check_said(1, AUTH_OK, "joe@here.test");
    pass(OAUTH_KEYS_FRESH_MS);
    ask(2, signed_by(&the->key, "a"), "");
    check_said(2, AUTH_OK, "joe@here.test");
    assert_int_equal(the->n_requests, 1);
    pass(1);
    ask(3, signed_by(&the->key, "a"), "");
    check_said(3, AUTH_OK, "joe@here.test"); /* meanwhile */
    assert_int_equal(the->n_requests, 2);
    ask(4, signed_by(&the->key, "a"), "");
    check_said(4, AUTH_OK, "joe@here.test");
    assert_int_equal(the->n_requests, 2);
    respond(1, &(struct http_answer){.status = HTTP_UNREACHABLE});
    check_logged("those that came before, for a day");
    pass(OAUTH_KEYS_STALE_MS - OAUTH_KEYS_FRESH_MS - 1);
    ask(5, signed_by(&the->key, "a"), "");
    check_said(5, AUTH_OK, "joe@here.test");
    lookup_says(DNS_STATUS_OK); /* its address is old, too */
    respond(2, &(struct http_answer){.status = HTTP_UNREACHABLE});
    pass(1);
    ask(6, signed_by(&the->key, "a"), "");
    check_nothing_said();
    respond(3, &(struct http_answer){.status = HTTP_UNREACHABLE});
    check_said(6, AUTH_TEMPORARY, "can't be asked");
}

/* ---- introspection --------------------------------------------------------------------------- */

#define ACTIVE "{\"active\":true,\"email\":\"joe@here.test\"}"

static void the_issuer_is_asked(void **state)
{
    UNUSED(state);
    start(&by_asking);
    give_secret("s&t:\xc3\xa4\nsecond line");
    ask(1, "ab+/=~.c", "joe");
    lookup_says(DNS_STATUS_OK);
    const struct request *r = &the->requests[0];
    assert_string_equal(r->url, "https://id.test:8443/ask");
    assert_true(r->q.is_post && r->q.port == 8443 && r->q.size_max == JWT_JSON_MAX);
    assert_string_equal(r->body, "token=ab%2B%2F%3D%7E.c&token_type_hint=access_token");
    assert_true(str_eq(r->q.type, STR("application/x-www-form-urlencoded")));
    assert_string_equal(r->authorization,
                        "Basic d2F4JTIwd2luZzpzJTI2dCUzQSVDMyVBNA=="); /* wax%20wing:s%26t%3A%C3%A4 */
    answers(0, 200, ACTIVE);
    check_said(1, AUTH_OK, "joe@here.test");
    ask(2, "another", "joe");
    answers(1, 200, "{\"active\":false}");
    check_said(2, AUTH_BAD, "");
    check_logged("login.token_refused user=joe why=\"the issuer says that it is not active\"");
    assert_true(str_find(buf_str(&the->log_text), STR("another")) == STR_NPOS);
}

static void answers_without_sense(void **state)
{
    UNUSED(state);
    static const struct {
        struct http_answer answer;
        enum auth_verdict verdict;
        const char *why;
    } rows[] = {
        {{.status = HTTP_UNREACHABLE, .why = STR_INIT("refused")},
         AUTH_TEMPORARY,
         "https://id.test:8443/ask: it can't be asked: refused"},
        {{.status = HTTP_ANSWERED, .code = 401},
         AUTH_TEMPORARY,
         "code 401: does it know our client and secret?"},
        {{.status = HTTP_ANSWERED, .code = 403}, AUTH_TEMPORARY, "does it know our client and secret?"},
        {{.status = HTTP_ANSWERED, .code = 302}, AUTH_TEMPORARY, "code 302"},
        {{.status = HTTP_ANSWERED, .code = 200}, AUTH_TEMPORARY, "malformed"},
        {{.status = HTTP_ANSWERED, .code = 200, .body = STR_INIT("[true]")},
         AUTH_TEMPORARY,
         "malformed: it is no object"},
        {{.status = HTTP_ANSWERED, .code = 200, .body = STR_INIT("{\"email\":\"joe@here.test\"}")},
         AUTH_TEMPORARY,
         "whether the token is active"},
        {{.status = HTTP_ANSWERED,
          .code = 200,
          .body = STR_INIT("{\"active\":\"true\",\"email\":\"joe@here.test\"}")},
         AUTH_TEMPORARY,
         "whether"},
        {{.status = HTTP_ANSWERED, .code = 200, .body = STR_INIT("{\"active\":true}")}, AUTH_BAD, ""},
        {{.status = HTTP_ANSWERED,
          .code = 200,
          .body = STR_INIT("{\"active\":true,\"email\":\"joe\\n@here.test\"}")},
         AUTH_BAD,
         ""},
        {{.status = HTTP_ANSWERED,
          .code = 200,
          .body = STR_INIT("{\"active\":true,\"email\":\"joe@here.test\",\"iss\":\"x\"}")},
         AUTH_BAD,
         ""},
    };
    start(&by_asking);
    give_secret("s");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask(i, "token", ""); /* what went wrong is not remembered */
        if (i == 0)
            lookup_says(DNS_STATUS_OK);
        respond(i, &rows[i].answer);
        check_said(i, rows[i].verdict, rows[i].why);
    }
}

static void what_is_remembered(void **state)
{
    UNUSED(state);
    start(&by_asking);
    give_secret("s");
    ask(1, "token", "");
    lookup_says(DNS_STATUS_OK);
    answers(0, 200, ACTIVE);
    check_said(1, AUTH_OK, "joe@here.test");
    pass(OAUTH_CACHE_S * 1000 - 1);
    ask(2, "token", "");
    check_said(2, AUTH_OK, "joe@here.test");
    ask(3, "tokem", "");
    check_nothing_said();
    answers(1, 200,
            "{\"active\":true,\"email\":\"ann@here.test\",\"exp\":1800000065}"); /* now it is 60.999 */
    check_said(3, AUTH_OK, "ann@here.test");
    pass(1);
    ask(4, "token", "");
    check_nothing_said();
    answers(2, 200, "{\"active\":false}");
    check_said(4, AUTH_BAD, "");
    pass(3000);
    ask(5, "tokem", "");
    check_said(5, AUTH_OK, "ann@here.test");
    pass(1000); /* it has ended */
    ask(6, "tokem", "");
    check_nothing_said();
    answers(3, 200, "{\"active\":false}");
    check_said(6, AUTH_BAD, "");
}

static void many_verdicts(void **state)
{
    UNUSED(state);
    start(&by_asking);
    give_secret("s");
    for (unsigned i = 0; i < OAUTH_CACHE_MAX + 2; i++) {
        char token[16];
        struct buf b;
        buf_init_fixed(&b, token, sizeof token);
        buf_printf(&b, "t%u", i);
        buf_putc(&b, '\0');
        the->n_requests = the->auth.n_sent = the->auth.n_seen = 0;
        ask(i, token, "");
        if (i == 0)
            lookup_says(DNS_STATUS_OK);
        answers(0, 200, ACTIVE);
        check_said(i, AUTH_OK, "joe@here.test");
    }
    the->n_requests = 0;
    ask(1, "t2", ""); /* the two before it had to go */
    check_said(1, AUTH_OK, "joe@here.test");
    ask(2, "t1", "");
    check_nothing_said();
    assert_int_equal(the->n_requests, 1);
}

static void many_questions(void **state)
{
    UNUSED(state);
    start(&by_asking);
    give_secret("s");
    for (unsigned i = 0; i < OAUTH_ASKS_MAX; i++)
        ask(i, "token", "");
    lookup_says(DNS_STATUS_OK);
    assert_int_equal(the->n_requests, OAUTH_FETCHES_MAX);
    check_nothing_said();
    ask(1000, "token", "");
    check_said(1000, AUTH_TEMPORARY, "too many tokens");
    answers(0, 500, "");
    check_said(0, AUTH_TEMPORARY, "code 500");
    assert_int_equal(the->n_requests, OAUTH_FETCHES_MAX + 1);
    pass(OAUTH_ANSWER_MS);
    for (unsigned i = 1; i < OAUTH_ASKS_MAX; i++)
        check_said(i, AUTH_TEMPORARY, "in time");
    answers(1, 200, ACTIVE); /* nobody waits */
    check_nothing_said();
    the->is_http_full = true;
    ask(2000, "token", "");
    for (size_t i = 2; i <= OAUTH_FETCHES_MAX; i++)
        respond(i, &(struct http_answer){.status = HTTP_TIMEOUT});
    check_said(2000, AUTH_TEMPORARY, "too many requests");
}

static void without_a_secret(void **state)
{
    UNUSED(state);
    start(&by_asking);
    ask(1, "token", "");
    lookup_says(DNS_STATUS_OK);
    check_said(1, AUTH_TEMPORARY, "the file with our secret");
    assert_int_equal(the->n_requests, 0);
}

/* ---- changes --------------------------------------------------------------------------------- */

static void configure(const struct oauth_conf *c)
{
    const struct config *old = the->env.config;
    struct config *new = old == &the->config ? &the->config2 : &the->config;
    *new = *old;
    new->oauth = *c;
    the->env.config = new;
    tables_role.reload(the->self, old);
}

static void another_configuration(void **state)
{
    UNUSED(state);
    start(&by_asking);
    give_secret("s");
    ask(1, "token", "");
    lookup_says(DNS_STATUS_OK);
    answers(0, 200, ACTIVE);
    check_said(1, AUTH_OK, "joe@here.test");
    ask(2, "other", "");
    configure(&by_asking); /* the same */
    check_nothing_said();
    ask(3, "token", "");
    check_said(3, AUTH_OK, "joe@here.test");
    struct oauth_conf c = by_asking;
    c.scope = STR("mail");
    configure(&c);
    check_said(2, AUTH_TEMPORARY, "configuration has changed");
    answers(1, 200, ACTIVE); /* of the one before */
    check_nothing_said();
    ask(4, "token", "");
    lookup_says(DNS_STATUS_OK);
    answers(2, 200, ACTIVE);
    check_said(4, AUTH_BAD, ""); /* what was good is not, now */
    configure(&by_keys);
    ask(5, signed_by(&the->key, "a"), "");
    lookup_says(DNS_STATUS_OK);
    configure(&c);
    check_said(5, AUTH_TEMPORARY, "configuration has changed");
    answers_key(3, &the->key, "a");
    configure(&(struct oauth_conf){.by = OAUTH_NONE});
    ask(6, "token", "");
    check_said(6, AUTH_TEMPORARY, "no issuer");
}

/* Keys that were on their way from another issuer. */
static void keys_of_another_configuration(void **state)
{
    UNUSED(state);
    start(&by_keys);
    ask(1, signed_by(&the->key, "a"), "");
    lookup_says(DNS_STATUS_OK);
    struct oauth_conf c = by_keys;
    c.url = STR("https://id.test/others");
    configure(&c);
    check_said(1, AUTH_TEMPORARY, "configuration has changed");
    answers_key(0, &the->key, "a");
    ask(2, signed_by(&the->key, "a"), "");
    check_nothing_said();
    lookup_says(DNS_STATUS_OK);
    assert_string_equal(the->requests[1].url, "https://id.test/others");
    answers_key(1, &the->other, "a");
    check_said(2, AUTH_BAD, "");
}

static void who_asks_leaves(void **state)
{
    UNUSED(state);
    start(&by_asking);
    give_secret("s");
    ask(1, "token", "");
    lookup_says(DNS_STATUS_OK);
    ask(2, "token", "");
    tables_role.drain(the->self, the->now_ms + 60000);
    assert_int_equal(the->n_drained, 0);
    the->auth.user->on_closed(the->auth.arg, &the->auth);
    assert_int_equal(the->n_drained, 1);
    answers(0, 200, ACTIVE);
    assert_int_equal(the->auth.n_sent, 0);
}

static void the_last_answer_drains(void **state)
{
    UNUSED(state);
    start(&by_keys);
    ask(1, signed_by(&the->key, "a"), "");
    lookup_says(DNS_STATUS_OK);
    tables_role.drain(the->self, the->now_ms + 60000);
    assert_int_equal(the->n_drained, 0);
    answers_key(0, &the->key, "a");
    check_said(1, AUTH_OK, "joe@here.test");
    assert_int_equal(the->n_drained, 1);
}

static void questions_that_are_none(void **state)
{
    UNUSED(state);
    static char long_text[SASL_TOKEN_MAX + 1];
    memset(long_text, 'a', sizeof long_text);
    const struct ipc_auth_ask rows[] = {
        {.kind = AUTH_TOKEN},
        {.kind = AUTH_TOKEN, .secret = str_of(long_text, SASL_TOKEN_MAX + 1)},
        {.kind = AUTH_TOKEN, .secret = STR("x"), .file = STR("here.test")},
        {.kind = AUTH_TOKEN, .secret = STR("x"), .user = str_of(long_text, SASL_NAME_MAX + 1)},
        {.kind = AUTH_TOKEN + 1, .secret = STR("x"), .user = STR("joe")},
    };
    start(&by_keys);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 1 << 16);
        the->auth.is_closed = false;
        assert_true(ipc_encode_auth_ask(&rows[i], &b));
        say(&the->auth, IPC_AUTH_ASK, &b);
        assert_true(the->auth.is_closed);
        buf_fini(&b);
        tables_role.peer(the->self, ROLE_AUTH, 0, &the->auth);
    }
    the->auth.is_closed = false;
    ask(1, "x", "");
    check_said(1, AUTH_BAD, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        T(keys_come_before_the_first_answer),
        T(keys_that_cannot_be_had),
        T(a_name_without_addresses),
        T(keys_that_are_not_known),
        T(keys_that_get_old),
        T(the_issuer_is_asked),
        T(answers_without_sense),
        T(what_is_remembered),
        T(many_verdicts),
        T(many_questions),
        T(without_a_secret),
        T(another_configuration),
        T(keys_of_another_configuration),
        T(who_asks_leaves),
        T(the_last_answer_drains),
        T(questions_that_are_none),
    };
    return cmocka_run_group_tests_name("oauth", tests, NULL, NULL);
}
