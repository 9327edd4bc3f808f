/* The role over a world, a resolver and channels that this test holds in its hand; boot's part is here too.
 */
#include "service/lookup/lookup.h"

#include "base/mem.h"
#include "base/rand.h"
#include "service/boot/role.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define R(data)                                                                                              \
    {                                                                                                        \
        "" data, sizeof(data) - 1                                                                            \
    } /* STR() is no constant expression to a pedantic compiler */

enum { QUESTIONS_MAX = 3000, SENT_MAX = 3000 };

struct channel { /* the far end is the test */
    struct world_object object;
    const struct channel_user *user;
    void *arg;
    bool is_paused, is_closed, is_full;
    size_t n_sent;
    struct sent {
        uint16_t type;
        struct str payload;
    } sent[SENT_MAX];
};
struct question {
    char name[300];
    enum dns_type type;
    void (*fn)(void *arg, const struct resolver_answer *a);
    void *arg;
};
struct fixture {
    struct world world; /* first */
    struct log log;
    struct rng rng;
    struct list hooks;
    struct timer *timer;
    uint64_t timer_ms;
    struct resolver resolver;
    struct question questions[QUESTIONS_MAX];
    size_t n_questions, room;
    unsigned n_configured;
    bool is_bad_conf;
    struct config config, config2;
    struct role_env env;
    struct channel queue, relay;
    void *self;
    unsigned n_ready, n_failed, n_drained, n_released;
};

static struct fixture *fixture_of(struct world *w)
{
    return container_of(w, struct fixture, world);
}

/* ---- boot ------------------------------------------------------------------------------------ */

static struct fixture *fixture_of_env(struct role_env *env)
{
    return container_of(env, struct fixture, env);
}

void role_ready(struct role_env *env)
{
    fixture_of_env(env)->n_ready++;
}

void role_fail(struct role_env *env, struct str reason)
{
    assert_true(reason.n > 0);
    fixture_of_env(env)->n_failed++;
}

void role_drained(struct role_env *env)
{
    fixture_of_env(env)->n_drained++;
}

void role_config_release(struct role_env *env, const struct config *old)
{
    assert_ptr_equal(old, &fixture_of_env(env)->config);
    fixture_of_env(env)->n_released++;
}

#include "service/boot/role_testing.h"

/* ---- world ----------------------------------------------------------------------------------- */

static uint64_t now_ms(const struct world *w)
{
    UNUSED(w);
    return 1000;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    unsigned char *p = out;
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)rng_next(&fixture_of(w)->rng);
}

static void timer_set(struct world *w, struct timer *t, uint64_t due_ms)
{
    t->is_set = true;
    fixture_of(w)->timer = t;
    fixture_of(w)->timer_ms = due_ms;
}

static void timer_cancel(struct world *w, struct timer *t)
{
    UNUSED(w);
    t->is_set = false;
}

static void turn_end(struct world *w, struct turn_hook *h)
{
    list_push_back(&fixture_of(w)->hooks, &h->link);
}

static enum err send_to_test(struct channel *c, uint16_t type, struct str payload, struct handle *give)
{
    assert_null(give);
    assert_false(c->is_closed);
    if (c->is_full)
        return ERR_AGAIN;
    assert_true(c->n_sent < SENT_MAX);
    char *copy = malloc(payload.n);
    assert_non_null(copy);
    memcpy(copy, payload.p, payload.n);
    c->sent[c->n_sent++] = (struct sent){type, str_of(copy, payload.n)};
    return ERR_OK;
}

static void set_user(struct channel *c, const struct channel_user *user, void *arg)
{
    c->user = user;
    c->arg = arg;
}

static void pause_channel(struct channel *c, bool is_paused)
{
    c->is_paused = is_paused;
}

static const struct world_ops ops = {.now_ms = now_ms,
                                     .random = fill_random,
                                     .timer_set = timer_set,
                                     .timer_cancel = timer_cancel,
                                     .turn_end = turn_end,
                                     .channel_send = send_to_test,
                                     .channel_set_user = set_user,
                                     .channel_pause = pause_channel};

/* ---- resolver -------------------------------------------------------------------------------- */

static bool configure(void *self, const struct resolver_conf *conf, struct buf *why)
{
    struct fixture *f = self;
    assert_true(conf->n_servers == 0 || f->env.config->resolver != RESOLVER_RECURSIVE);
    f->n_configured++;
    if (f->is_bad_conf)
        (void)buf_puts(why, "bad");
    return !f->is_bad_conf;
}

static bool take_question(void *self, struct str name, enum dns_type type,
                          void (*fn)(void *arg, const struct resolver_answer *a), void *arg)
{
    struct fixture *f = self;
    if (f->n_questions >= f->room)
        return false;
    struct question *q = &f->questions[f->n_questions++];
    *q = (struct question){.type = type, .fn = fn, .arg = arg};
    assert_true(str_to_c(name, q->name, sizeof q->name));
    return true;
}

/* Answers the oldest question. */
static void answer(struct fixture *f, const struct resolver_answer *a)
{
    assert_true(f->n_questions > 0);
    struct question q = f->questions[0];
    f->n_questions--;
    memmove(f->questions, f->questions + 1, f->n_questions * sizeof q);
    q.fn(q.arg, a);
}

static void end_turn(struct fixture *f)
{
    list_each (l, &f->hooks) {
        struct turn_hook *h = list_entry(l, struct turn_hook, link);
        h->run(h);
    }
}

/* ---- the parts ------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->world = (struct world){&ops, &f->log};
    rng_seed(&f->rng, 1);
    list_init(&f->hooks);
    f->room = QUESTIONS_MAX;
    f->resolver = (struct resolver){f, configure, take_question};
    f->config = (struct config){.smtp_port = 25};
    f->config2 = f->config;
    f->env =
        (struct role_env){.world = &f->world, .role = ROLE_LOOKUP, .config = &f->config, .ext = &f->resolver};
    f->queue.object.ops = f->relay.object.ops = &ops;
    f->env.peers[ROLE_QUEUE][0] = &f->queue;
    f->self = lookup_role.create(&f->env);
    assert_non_null(f->self);
    assert_int_equal(f->n_ready, 1);
    lookup_role.peer(f->self, ROLE_RELAY, 0, &f->relay);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->self != NULL)
        lookup_role.del(f->self);
    for (size_t i = 0; i < f->queue.n_sent; i++)
        free((char *)(uintptr_t)f->queue.sent[i].payload.p);
    for (size_t i = 0; i < f->relay.n_sent; i++)
        free((char *)(uintptr_t)f->relay.sent[i].payload.p);
    free(f);
    return 0;
}

static const struct mx_case {
    const char *what;
    enum resolver_status status;
    struct str rdata[4];
    enum dns_status expect;
    const char *hosts; /* in order, each followed by its preference */
} mx_table[] = {
    {"sorted",
     RESOLVER_OK,
     {R("\0\x14\1b\0"), R("\0\x0a\1a\0"), R("\1\0\1c\0")},
     DNS_STATUS_OK,
     "a 10 b 20 c 256 "},
    {"each name once", RESOLVER_OK, {R("\0\x14\1A\0"), R("\0\x0a\1a\0")}, DNS_STATUS_OK, "a 10 "},
    {"null", RESOLVER_OK, {R("\0\0\0")}, DNS_STATUS_NULL_MX, ""},
    {"null among others", RESOLVER_OK, {R("\0\0\0"), R("\0\1\1b\0")}, DNS_STATUS_OK, "b 1 "},
    {"malformed ones", RESOLVER_OK, {R("\0"), R("\0\1\5b\0"), R("\0\2\1c\0")}, DNS_STATUS_OK, "c 2 "},
    {"only malformed", RESOLVER_OK, {R("\0\0"), R("\0\1\1\xff\0")}, DNS_STATUS_TEMPORARY, ""},
    {"no such domain", RESOLVER_NXDOMAIN, {R("")}, DNS_STATUS_NXDOMAIN, ""},
    {"no MX: the domain itself", RESOLVER_NODATA, {R("")}, DNS_STATUS_NODATA, "d.test 0 "},
    {"failed", RESOLVER_FAILED, {R("")}, DNS_STATUS_TEMPORARY, ""},
    {"forged", RESOLVER_BOGUS, {R("")}, DNS_STATUS_TEMPORARY, ""},
};

static void mx_answers(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(mx_table); i++) {
        const struct mx_case *c = &mx_table[i];
        char host_mem[4096], why_mem[LOOKUP_WHY_MAX], text[256];
        struct buf hosts, why, out;
        struct resolver_answer a = {.status = c->status, .rdata = c->rdata, .why = STR("because")};
        while (a.n_rdata < 4 && c->rdata[a.n_rdata].n > 0)
            a.n_rdata++;
        buf_init_fixed(&hosts, host_mem, sizeof host_mem);
        buf_init_fixed(&why, why_mem, sizeof why_mem);
        buf_init_fixed(&out, text, sizeof text - 1);
        enum dns_status status = lookup_mx(&f->world, STR("d.test"), 26, &a, &hosts, &why);
        struct reader r = reader_of(buf_str(&hosts));
        struct hop h;
        while (list_next_hop(&r, &h)) {
            assert_int_equal(h.port, 26);
            (void)buf_printf(&out, "%.*s %u ", STR_FMT(h.name), h.preference);
        }
        text[out.n] = 0;
        if (status != c->expect || strcmp(text, c->hosts) != 0 || r.failed ||
            (why.n == 0) != (status == DNS_STATUS_OK))
            fail_msg("%s: %d, %s, %.*s", c->what, (int)status, text, STR_FMT(buf_str(&why)));
    }
}

static void equal_preferences_come_in_any_order_and_bounded(void **state)
{
    struct fixture *f = *state;
    char names[LOOKUP_MX_SEEN_MAX + 1][8], mem[8192], why_mem[64];
    struct str rdata[LOOKUP_MX_SEEN_MAX + 1];
    unsigned n_first[4] = {0};
    for (int i = 0; i <= LOOKUP_MX_SEEN_MAX; i++) {
        int n = snprintf(names[i], sizeof names[i], "%c%c\3%03d", 1, 7, i);
        assert_int_equal(n, 6);
        rdata[i] = str_of(names[i], 7); /* with the root's label */
    }
    struct buf hosts, why;
    buf_init_fixed(&why, why_mem, sizeof why_mem);
    struct resolver_answer a = {.rdata = rdata, .n_rdata = 4};
    struct reader r;
    struct hop h;
    for (int round = 0; round < 400; round++) {
        buf_init_fixed(&hosts, mem, sizeof mem);
        assert_int_equal(lookup_mx(&f->world, STR("d"), 25, &a, &hosts, &why), DNS_STATUS_OK);
        r = reader_of(buf_str(&hosts));
        assert_true(list_next_hop(&r, &h));
        n_first[h.name.p[2] - '0']++;
    }
    for (size_t i = 0; i < 4; i++)
        assert_in_range(n_first[i], 50, 150); /* the seed is fixed */
    a.n_rdata = LOOKUP_MX_SEEN_MAX + 1;
    buf_init_fixed(&hosts, mem, sizeof mem);
    assert_int_equal(lookup_mx(&f->world, STR("d"), 25, &a, &hosts, &why), DNS_STATUS_OK);
    size_t n = 0;
    for (r = reader_of(buf_str(&hosts)); list_next_hop(&r, &h);)
        n++;
    assert_int_equal(n, DNS_MX_MAX);
}

static const struct {
    const char *what;
    enum resolver_status status6, status4;
    size_t n6, n4;
    enum dns_status expect;
    const char *kinds; /* in order */
} host_table[] = {
    {"both", RESOLVER_OK, RESOLVER_OK, 2, 3, DNS_STATUS_OK, "64644"},
    {"IPv4 alone", RESOLVER_NODATA, RESOLVER_OK, 0, 2, DNS_STATUS_OK, "44"},
    {"IPv6 alone, the other failed", RESOLVER_OK, RESOLVER_FAILED, 1, 0, DNS_STATUS_OK, "6"},
    {"none, one failed", RESOLVER_NODATA, RESOLVER_FAILED, 0, 0, DNS_STATUS_TEMPORARY, ""},
    {"none, one forged", RESOLVER_BOGUS, RESOLVER_NXDOMAIN, 0, 0, DNS_STATUS_TEMPORARY, ""},
    {"no such name", RESOLVER_NXDOMAIN, RESOLVER_NXDOMAIN, 0, 0, DNS_STATUS_NXDOMAIN, ""},
    {"no addresses", RESOLVER_NODATA, RESOLVER_NODATA, 0, 0, DNS_STATUS_NODATA, ""},
    {"one says so, one so", RESOLVER_NXDOMAIN, RESOLVER_NODATA, 0, 0, DNS_STATUS_NODATA, ""},
    {"many", RESOLVER_OK, RESOLVER_OK, 40, 40, DNS_STATUS_OK, "64646464646464646464646464646464"},
};

static void take_side(struct fixture *f, enum dns_type type, enum resolver_status status, size_t n,
                      struct lookup_side *s)
{
    char bytes[64][16] = {0};
    struct str rdata[64];
    for (size_t i = 0; i < n; i++) {
        bytes[i][3] = (char)(i + 1);
        rdata[i] = str_of(bytes[i], type == DNS_A ? 4 : 16);
    }
    struct resolver_answer a = {.status = status, .rdata = rdata, .n_rdata = n};
    lookup_side_take(&f->world, s, type, &a);
}

static void host_answers(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(host_table); i++) {
        struct lookup_side ip6, ip4;
        char mem[4096], kinds[64];
        struct buf b, out;
        take_side(f, DNS_AAAA, host_table[i].status6, host_table[i].n6, &ip6);
        take_side(f, DNS_A, host_table[i].status4, host_table[i].n4, &ip4);
        buf_init_fixed(&b, mem, sizeof mem);
        buf_init_fixed(&out, kinds, sizeof kinds - 1);
        enum dns_status status = lookup_host(&ip6, &ip4, &b);
        struct reader r = reader_of(buf_str(&b));
        struct netaddr addr;
        while (list_next_addr(&r, &addr))
            (void)buf_putc(&out, addr.kind == NETADDR_IP6 ? '6' : '4');
        kinds[out.n] = 0;
        if (status != host_table[i].expect || strcmp(kinds, host_table[i].kinds) != 0)
            fail_msg("%s: %d %s", host_table[i].what, (int)status, kinds);
    }
}

/* What is known of the host besides its addresses comes from an answer that can't be forged, if there is one.
 */
static void a_secure_side_is_the_witness(void **state)
{
    static const struct {
        bool is_secure6, is_secure4;
        enum resolver_status status6, status4;
        const char *name6, *name4;
        bool is_secure;
        const char *name;
    } table[] = {
        {true, true, RESOLVER_OK, RESOLVER_OK, "a", "a", true, "a"},
        {true, false, RESOLVER_NODATA, RESOLVER_OK, "a", "forged", true, "a"},
        {false, true, RESOLVER_OK, RESOLVER_NXDOMAIN, "forged", "a", true, "a"},
        {false, true, RESOLVER_OK, RESOLVER_OK, "forged", "", true, ""},
        {false, false, RESOLVER_FAILED, RESOLVER_OK, "", "b", false, "b"},
        {false, false, RESOLVER_OK, RESOLVER_OK, "a", "b", false, "a"},
        {true, false, RESOLVER_FAILED, RESOLVER_OK, "", "b", false, "b"}, /* no answer was validated */
        {true, false, RESOLVER_BOGUS, RESOLVER_OK, "", "b", false, "b"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct lookup_side ip6, ip4;
        struct resolver_answer a = {.is_secure = table[i].is_secure6,
                                    .status = table[i].status6,
                                    .canonical = str_from_c(table[i].name6)};
        lookup_side_take(&f->world, &ip6, DNS_AAAA, &a);
        a = (struct resolver_answer){.is_secure = table[i].is_secure4,
                                     .status = table[i].status4,
                                     .canonical = str_from_c(table[i].name4)};
        lookup_side_take(&f->world, &ip4, DNS_A, &a);
        const struct lookup_side *w = lookup_witness(&ip6, &ip4);
        if (w->is_secure != table[i].is_secure || strcmp(w->canonical, table[i].name) != 0)
            fail_msg("%zu: %d %s", i, w->is_secure, w->canonical);
    }
}

static void no_address_is_none(void **state)
{
    struct fixture *f = *state;
    struct lookup_side s;
    struct str rdata[] = {STR("\0\0\0\0"), STR("\1\2\3"), STR("")};
    struct resolver_answer a = {.rdata = rdata, .n_rdata = 3};
    lookup_side_take(&f->world, &s, DNS_A, &a);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.status, RESOLVER_NODATA);
}

static void life_times_are_bounded(void **state)
{
    UNUSED(state);
    assert_int_equal(lookup_ttl(0), 5);
    assert_int_equal(lookup_ttl(5), 5);
    assert_int_equal(lookup_ttl(3600), 3600);
    assert_int_equal(lookup_ttl(86401), 86400);
}

/* ---- the role -------------------------------------------------------------------------------- */

static void ask_mx(struct fixture *f, uint64_t token, const char *domain)
{
    char mem[512];
    struct buf b;
    struct ipc_mx_ask m = {token, str_from_c(domain)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_mx_ask(&m, &b));
    f->queue.user->on_message(f->queue.arg, &f->queue, IPC_MX_ASK, buf_str(&b), NULL);
}

static void ask_host(struct fixture *f, uint64_t token, const char *name)
{
    char mem[512];
    struct buf b;
    struct ipc_host_ask m = {token, str_from_c(name)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_host_ask(&m, &b));
    f->relay.user->on_message(f->relay.arg, &f->relay, IPC_HOST_ASK, buf_str(&b), NULL);
}

static void ask_rr(struct fixture *f, uint64_t token, enum dns_type type, const char *name)
{
    char mem[512];
    struct buf b;
    struct ipc_rr_ask m = {token, (uint16_t)type, str_from_c(name)};
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_rr_ask(&m, &b));
    f->relay.user->on_message(f->relay.arg, &f->relay, IPC_RR_ASK, buf_str(&b), NULL);
}

static struct ipc_rr_answer rr_sent(const struct fixture *f, size_t i)
{
    struct ipc_rr_answer m = {0};
    assert_true(i < f->relay.n_sent);
    assert_int_equal(f->relay.sent[i].type, IPC_RR_ANSWER);
    assert_true(ipc_decode_rr_answer(f->relay.sent[i].payload, &m));
    return m;
}

static struct ipc_mx_answer mx_sent(const struct fixture *f, size_t i)
{
    struct ipc_mx_answer m = {0};
    assert_true(i < f->queue.n_sent);
    assert_int_equal(f->queue.sent[i].type, IPC_MX_ANSWER);
    assert_true(ipc_decode_mx_answer(f->queue.sent[i].payload, &m));
    return m;
}

static void answer_mx(struct fixture *f)
{
    static const struct str rdata[] = {R("\0\x0a\2mx\4test\0")};
    struct resolver_answer a = {
        .is_secure = true, .ttl_s = 100, .rdata = rdata, .n_rdata = 1, .canonical = STR("good.test")};
    answer(f, &a);
}

static void a_question_is_answered(void **state)
{
    struct fixture *f = *state;
    ask_mx(f, 7, "Good.TEST.");
    end_turn(f);
    assert_int_equal(f->n_questions, 1);
    assert_string_equal(f->questions[0].name, "good.test");
    assert_int_equal(f->questions[0].type, DNS_MX);
    answer_mx(f);
    struct ipc_mx_answer m = mx_sent(f, 0);
    assert_true(m.token == 7 && m.status == DNS_STATUS_OK && m.is_secure == 1 && m.ttl_s == 100 &&
                m.why.n == 0);
    assert_true(str_eq(m.canonical, STR("good.test")));
}

static void equal_questions_are_one(void **state)
{
    struct fixture *f = *state;
    ask_mx(f, 1, "a.test");
    ask_mx(f, 2, "A.test");
    end_turn(f);
    ask_mx(f, 3, "a.test");
    ask_mx(f, 4, "b.test");
    end_turn(f);
    assert_int_equal(f->n_questions, 2);
    answer_mx(f);
    assert_int_equal(f->queue.n_sent, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(mx_sent(f, i).token, i + 1);
    ask_mx(f, 5, "a.test"); /* that one is over: asked anew */
    end_turn(f);
    assert_int_equal(f->n_questions, 2);
}

static void a_host_has_two_kinds_of_addresses(void **state)
{
    static const struct str ip4[] = {R("\xc0\0\2\1")};
    struct fixture *f = *state;
    ask_host(f, 9, "mx.test");
    end_turn(f);
    assert_int_equal(f->n_questions, 2);
    assert_int_equal(f->questions[0].type, DNS_AAAA);
    assert_int_equal(f->questions[1].type, DNS_A);
    struct resolver_answer none = {
        .status = RESOLVER_NODATA, .is_secure = true, .ttl_s = 3, .canonical = STR("real.test")};
    answer(f, &none);
    assert_int_equal(f->relay.n_sent, 0);
    struct resolver_answer a = {.rdata = ip4, .n_rdata = 1, .ttl_s = 500, .canonical = STR("forged.test")};
    answer(f, &a);
    struct ipc_host_answer m = {0};
    assert_int_equal(f->relay.n_sent, 1);
    assert_true(ipc_decode_host_answer(f->relay.sent[0].payload, &m));
    assert_true(m.token == 9 && m.status == DNS_STATUS_OK && m.is_secure == 1 && m.ttl_s == LOOKUP_TTL_MIN_S);
    assert_true(str_eq(m.canonical, STR("real.test")));
    struct reader r = reader_of(m.addresses);
    struct netaddr addr;
    assert_true(list_next_addr(&r, &addr));
    assert_int_equal(addr.kind, NETADDR_IP4);
    assert_true(reader_done(&r));
}

static void records_come_as_they_are(void **state)
{
    static const struct str rdata[] = {R("\3\1\1digest"), R("\2\0\2digest")};
    static const enum dns_type types[] = {DNS_TLSA, DNS_TXT, DNS_CNAME};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        ask_rr(f, 7 + i, types[i], "_25._TCP.mx.test");
    ask_rr(f, 99, DNS_TLSA, "_25._tcp.mx.test."); /* one question with the first */
    end_turn(f);
    assert_int_equal(f->n_questions, ARRAY_LEN(types));
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        assert_string_equal(f->questions[i].name, "_25._tcp.mx.test");
        assert_int_equal(f->questions[i].type, types[i]);
    }
    struct resolver_answer a = {
        .is_secure = true, .ttl_s = 100, .rdata = rdata, .n_rdata = 2, .canonical = STR("real.test")};
    answer(f, &a);
    for (size_t i = 0; i < 2; i++) {
        struct ipc_rr_answer m = rr_sent(f, i);
        struct reader r = reader_of(m.rdata);
        struct str one, two;
        assert_true(m.token == (i == 0 ? 7 : 99) && m.status == DNS_STATUS_OK && m.is_secure == 1);
        assert_true(m.ttl_s == 100 && m.why.n == 0 && str_eq(m.canonical, STR("real.test")));
        assert_true(list_next_str(&r, &one) && list_next_str(&r, &two) && reader_done(&r));
        assert_true(str_eq(one, rdata[0]) && str_eq(two, rdata[1]));
    }
}

/* "There are none" takes a server's word for it; what was not answered or is bogus must never look like it.
 */
static void no_answer_is_not_an_absence(void **state)
{
    static const struct {
        enum resolver_status status;
        bool is_secure;
        enum dns_status expect;
        uint8_t expect_secure;
    } table[] = {
        {RESOLVER_NODATA, true, DNS_STATUS_NODATA, 1},     {RESOLVER_NODATA, false, DNS_STATUS_NODATA, 0},
        {RESOLVER_NXDOMAIN, true, DNS_STATUS_NXDOMAIN, 1}, {RESOLVER_FAILED, true, DNS_STATUS_TEMPORARY, 0},
        {RESOLVER_FAILED, false, DNS_STATUS_TEMPORARY, 0}, {RESOLVER_BOGUS, false, DNS_STATUS_TEMPORARY, 0},
        {RESOLVER_BOGUS, true, DNS_STATUS_TEMPORARY, 0},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ask_rr(f, i, DNS_TLSA, "_25._tcp.mx.test");
        end_turn(f);
        struct resolver_answer a = {
            .status = table[i].status, .is_secure = table[i].is_secure, .why = STR("because")};
        answer(f, &a);
        struct ipc_rr_answer m = rr_sent(f, i);
        if (m.status != table[i].expect || m.is_secure != table[i].expect_secure || m.rdata.n != 0 ||
            !str_starts(m.why, STR("TLSA of _25._tcp.mx.test: ")))
            fail_msg("%zu: %d %d %.*s", i, m.status, m.is_secure, STR_FMT(m.why));
    }
}

/* A resolver that hands over more than a packet holds. */
static void records_that_are_too_many_are_none(void **state)
{
    static char octets[LOOKUP_RDATA_MAX / 2];
    const struct str rdata[] = {str_of(octets, sizeof octets), str_of(octets, sizeof octets)};
    struct fixture *f = *state;
    ask_rr(f, 1, DNS_TXT, "big.test");
    end_turn(f);
    struct resolver_answer a = {.is_secure = true, .rdata = rdata, .n_rdata = 2};
    answer(f, &a);
    struct ipc_rr_answer m = rr_sent(f, 0);
    assert_true(m.status == DNS_STATUS_TEMPORARY && m.is_secure == 0 && m.rdata.n == 0 && m.why.n > 0);
    ask_rr(f, 2, DNS_TXT, "big.test");
    end_turn(f);
    a.n_rdata = 1;
    answer(f, &a);
    m = rr_sent(f, 1);
    assert_true(m.status == DNS_STATUS_OK && m.rdata.n == sizeof octets + 4);
}

static void other_types_are_not_for_asking(void **state)
{
    struct fixture *f = *state;
    ask_rr(f, 1, DNS_MX, "mx.test");
    assert_true(f->relay.is_closed);
    assert_true(list_is_empty(&f->hooks) || f->n_questions == 0);
}

static void who_asks_too_much_is_not_read(void **state)
{
    struct fixture *f = *state;
    char name[32];
    unsigned n = 0;
    while (!f->queue.is_paused) {
        assert_true(n < 2000);
        (void)snprintf(name, sizeof name, "n%u.test", n++);
        ask_mx(f, n, name);
    }
    ask_mx(f, ++n, "one.more.of.the.same.packet");
    end_turn(f);
    assert_int_equal(f->n_questions, n);
    answer_mx(f);
    assert_true(f->queue.is_paused);
    answer_mx(f);
    assert_false(f->queue.is_paused);
}

static void what_the_resolver_has_no_room_for_waits(void **state)
{
    struct fixture *f = *state;
    f->room = 3;
    ask_host(f, 1, "a.test");
    ask_host(f, 2, "b.test");
    end_turn(f);
    assert_int_equal(f->n_questions, 3);
    struct resolver_answer none = {.status = RESOLVER_NODATA};
    answer(f, &none);
    end_turn(f);
    assert_int_equal(f->n_questions, 3);
    while (f->n_questions > 0) {
        answer(f, &none);
        end_turn(f);
    }
    assert_int_equal(f->relay.n_sent, 2);
}

static void a_resolver_without_memory_is_temporary(void **state)
{
    struct fixture *f = *state;
    f->room = 0;
    ask_mx(f, 1, "a.test");
    ask_host(f, 2, "b.test");
    end_turn(f);
    assert_int_equal(mx_sent(f, 0).status, DNS_STATUS_TEMPORARY);
    assert_int_equal(f->relay.n_sent, 1);
}

static void a_full_channel_gets_its_answers_later_in_order(void **state)
{
    struct fixture *f = *state;
    f->queue.is_full = true;
    ask_mx(f, 1, "a.test");
    ask_mx(f, 2, "b.test");
    end_turn(f);
    answer_mx(f);
    f->queue.is_full = false;
    answer_mx(f); /* room, but the other one is first */
    assert_int_equal(f->queue.n_sent, 0);
    f->queue.user->on_room(f->queue.arg, &f->queue);
    assert_int_equal(f->queue.n_sent, 2);
    assert_int_equal(mx_sent(f, 0).token, 1);
    assert_int_equal(mx_sent(f, 1).token, 2);
}

static void an_asker_may_go(void **state)
{
    struct fixture *f = *state;
    ask_mx(f, 1, "a.test");
    end_turn(f);
    f->queue.user->on_closed(f->queue.arg, &f->queue);
    assert_true(f->queue.is_closed);
    answer_mx(f);
    assert_int_equal(f->queue.n_sent, 0);
    f->queue.is_closed = false;
    lookup_role.peer(f->self, ROLE_QUEUE, 0, &f->queue);
    ask_mx(f, 2, "a.test");
    end_turn(f);
    answer_mx(f);
    assert_int_equal(mx_sent(f, 0).token, 2);
}

static void forbidden_and_malformed_messages_end_the_channel(void **state)
{
    struct fixture *f = *state;
    f->queue.user->on_message(f->queue.arg, &f->queue, IPC_HOST_ASK, STR(""), NULL);
    assert_true(f->queue.is_closed);
    f->relay.user->on_message(f->relay.arg, &f->relay, IPC_HOST_ASK, STR("\1\2"), NULL);
    assert_true(f->relay.is_closed);
}

static void draining_waits_for_answers(void **state)
{
    struct fixture *f = *state;
    ask_mx(f, 1, "a.test");
    end_turn(f);
    lookup_role.drain(f->self, 5000);
    assert_int_equal(f->n_drained, 0);
    assert_int_equal(f->timer_ms, 5000);
    f->queue.is_full = true;
    answer_mx(f);
    assert_int_equal(f->n_drained, 0);
    f->queue.is_full = false;
    f->queue.user->on_room(f->queue.arg, &f->queue);
    assert_int_equal(f->n_drained, 1);
}

static void draining_ends_at_its_deadline(void **state)
{
    struct fixture *f = *state;
    ask_mx(f, 1, "a.test");
    lookup_role.drain(f->self, 5000);
    f->timer->fire(f->timer);
    assert_int_equal(f->n_drained, 1);
}

static void a_reload_configures_only_what_changed(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(f->n_configured, 1);
    f->env.config = &f->config2;
    lookup_role.reload(f->self, &f->config);
    assert_int_equal(f->n_configured, 1);
    assert_int_equal(f->n_released, 1);
    f->config2.root_hints = STR("other");
    lookup_role.reload(f->self, &f->config);
    assert_int_equal(f->n_configured, 2);
}

static void bad_settings_end_the_start(void **state)
{
    struct fixture *f = *state;
    lookup_role.del(f->self);
    f->is_bad_conf = true;
    f->self = lookup_role.create(&f->env);
    assert_null(f->self);
    assert_int_equal(f->n_failed, 1);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(mx_answers),
        T(equal_preferences_come_in_any_order_and_bounded),
        T(host_answers),
        T(a_secure_side_is_the_witness),
        T(no_address_is_none),
        T(life_times_are_bounded),
        T(a_question_is_answered),
        T(equal_questions_are_one),
        T(a_host_has_two_kinds_of_addresses),
        T(records_come_as_they_are),
        T(no_answer_is_not_an_absence),
        T(records_that_are_too_many_are_none),
        T(other_types_are_not_for_asking),
        T(who_asks_too_much_is_not_read),
        T(what_the_resolver_has_no_room_for_waits),
        T(a_resolver_without_memory_is_temporary),
        T(a_full_channel_gets_its_answers_later_in_order),
        T(an_asker_may_go),
        T(forbidden_and_malformed_messages_end_the_channel),
        T(draining_waits_for_answers),
        T(draining_ends_at_its_deadline),
        T(a_reload_configures_only_what_changed),
        T(bad_settings_end_the_start),
    };
    return cmocka_run_group_tests_name("lookup", tests, NULL, NULL);
}
