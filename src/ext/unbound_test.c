/* Runs in the private network of unbound_lab.sh; LAB is its folder. */
#include "ext/unbound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    struct log log;
    struct io_world *io;
    struct unbound *u;
    char anchor[4096], hints[4096];
};
struct got {
    struct io_world *io;
    size_t *n_left;
    bool is_done;
    enum resolver_status status;
    bool is_secure;
    uint32_t ttl_s;
    size_t n_rdata;
    char rdata[64 * 300];
    struct str at[64];
    char canonical[256], why[256];
};

static void on_log(void *arg, struct str line)
{
    UNUSED(arg);
    assert_true(fwrite(line.p, 1, line.n, stderr) == line.n);
}

static void read_file(const char *name, char *out, size_t cap)
{
    char path[512];
    const char *lab = getenv("LAB");
    assert_non_null(lab);
    assert_true(snprintf(path, sizeof path, "%s/%s", lab, name) > 0);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    out[fread(out, 1, cap - 1, f)] = 0;
    assert_int_equal(fclose(f), 0);
}

static void configure(struct fixture *f, const struct resolver_conf *conf)
{
    char mem[256];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem - 1);
    struct resolver *r = unbound_resolver(f->u);
    bool ok = r->configure(r->self, conf, &why);
    mem[why.n] = 0;
    if (!ok)
        fail_msg("%s", mem);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->log = (struct log){.min = LOG_ERROR, .write = on_log};
    f->io = io_world_new(&f->log, NULL);
    assert_non_null(f->io);
    f->u = unbound_new(f->io, UNBOUND_TIMEOUT_MS);
    assert_non_null(f->u);
    read_file("root.key", f->anchor, sizeof f->anchor);
    read_file("root.hints", f->hints, sizeof f->hints);
    struct resolver_conf conf = {.trust_anchor = str_from_c(f->anchor), .root_hints = str_from_c(f->hints)};
    configure(f, &conf);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unbound_del(&f->u);
    assert_null(f->u);
    io_world_del(&f->io);
    free(f);
    return 0;
}

static void on_answer(void *arg, const struct resolver_answer *a)
{
    struct got *g = arg;
    assert_false(g->is_done);
    g->is_done = true;
    g->status = a->status;
    g->is_secure = a->is_secure;
    g->ttl_s = a->ttl_s;
    struct buf b;
    buf_init_fixed(&b, g->rdata, sizeof g->rdata);
    for (size_t i = 0; i < a->n_rdata && i < ARRAY_LEN(g->at); i++) {
        g->at[g->n_rdata++] = str_of(g->rdata + b.n, a->rdata[i].n);
        assert_true(buf_put(&b, a->rdata[i]));
    }
    assert_true(str_to_c(a->canonical, g->canonical, sizeof g->canonical));
    assert_true(str_to_c(a->why, g->why, sizeof g->why));
    if (--*g->n_left == 0)
        io_stop(g->io);
}

static void ask(struct fixture *f, const char *name, enum dns_type type, struct got *g, size_t *n_left)
{
    struct resolver *r = unbound_resolver(f->u);
    *g = (struct got){.io = f->io, .n_left = n_left};
    assert_true(r->ask(r->self, str_from_c(name), type, on_answer, g));
    assert_false(g->is_done); /* never within the call */
}

static void ask_one(struct fixture *f, const char *name, enum dns_type type, struct got *g)
{
    size_t n_left = 1;
    ask(f, name, type, g, &n_left);
    io_run(f->io);
    assert_true(g->is_done);
}

static const struct {
    const char *name;
    enum dns_type type;
    enum resolver_status status;
    bool is_secure;
    size_t n_rdata;
    const char *canonical;
} table[] = {
    {"good.test", DNS_MX, RESOLVER_OK, true, 3, "good.test"},
    {"GOOD.Test", DNS_MX, RESOLVER_OK, true, 3, "good.test"},
    {"mx1.good.test", DNS_A, RESOLVER_OK, true, 2, "mx1.good.test"},
    {"mx1.good.test", DNS_AAAA, RESOLVER_OK, true, 1, "mx1.good.test"},
    {"mx3.good.test", DNS_AAAA, RESOLVER_NODATA, true, 0, "mx3.good.test"},
    {"alias.good.test", DNS_A, RESOLVER_OK, true, 2, "mx1.good.test"},
    {"aliasmx.good.test", DNS_MX, RESOLVER_OK, true, 3, "good.test"},
    {"dangling.good.test", DNS_A, RESOLVER_NXDOMAIN, true, 0, "nothing.good.test"},
    {"away.good.test", DNS_A, RESOLVER_OK, false, 1, "host.plain.test"},
    {"null.good.test", DNS_MX, RESOLVER_OK, true, 1, "null.good.test"},
    {"text.good.test", DNS_TXT, RESOLVER_OK, true, 1, "text.good.test"},
    {"_25._tcp.mx1.good.test", DNS_TLSA, RESOLVER_OK, true, 2, "_25._tcp.mx1.good.test"},
    {"alias.good.test", DNS_CNAME, RESOLVER_OK, true, 1, "alias.good.test"},
    {"away.good.test", DNS_CNAME, RESOLVER_OK, true, 1,
     "away.good.test"}, /* signed, what it leads to is not */
    {"mx1.good.test", DNS_CNAME, RESOLVER_NODATA, true, 0, "mx1.good.test"},
    {"_25._tcp.alias.good.test", DNS_TLSA, RESOLVER_OK, true, 2, "_25._tcp.mx1.good.test"},
    {"_25._tcp.away.good.test", DNS_TLSA, RESOLVER_OK, false, 1, "_25._tcp.host.plain.test"},
    {"_25._tcp.mx3.good.test", DNS_TLSA, RESOLVER_NXDOMAIN, true, 0, "_25._tcp.mx3.good.test"},
    {"_tcp.mx1.good.test", DNS_TLSA, RESOLVER_NODATA, true, 0, "_tcp.mx1.good.test"},
    {"_25._tcp.host.plain.test", DNS_TLSA, RESOLVER_OK, false, 1, "_25._tcp.host.plain.test"},
    {"_25._tcp.nothing.plain.test", DNS_TLSA, RESOLVER_NXDOMAIN, false, 0, "_25._tcp.nothing.plain.test"},
    {"_25._tcp.host.bogus.test", DNS_TLSA, RESOLVER_BOGUS, false, 0, ""},
    {"safe.bogus.test", DNS_A, RESOLVER_OK, true, 1, "safe.bogus.test"}, /* the records beside it are good */
    {"_25._tcp.host.lame.test", DNS_TLSA, RESOLVER_FAILED, false, 0, ""},
    {"nothing.good.test", DNS_MX, RESOLVER_NXDOMAIN, true, 0, "nothing.good.test"},
    {"plain.test", DNS_MX, RESOLVER_OK, false, 1, "plain.test"},
    {"many.plain.test", DNS_MX, RESOLVER_OK, false, 60, "many.plain.test"},
    {"nothing.plain.test", DNS_A, RESOLVER_NXDOMAIN, false, 0, "nothing.plain.test"},
    {"loop1.plain.test", DNS_A, RESOLVER_FAILED, false, 0, ""},
    {"host.bogus.test", DNS_A, RESOLVER_BOGUS, false, 0, ""},
    {"host.lame.test", DNS_A, RESOLVER_FAILED, false, 0, ""},
    {"nothing.example", DNS_A, RESOLVER_NXDOMAIN, true, 0, "nothing.example"},
    {"two..dots", DNS_A, RESOLVER_NXDOMAIN, false, 0, ""},
    {"", DNS_A, RESOLVER_NXDOMAIN, false, 0, ""},
    {"192.0.2.1", DNS_A, RESOLVER_NXDOMAIN, false, 0, ""},
    {"a b.test", DNS_A, RESOLVER_NXDOMAIN, false, 0, ""},
    {"a\\.b.test", DNS_A, RESOLVER_NXDOMAIN, false, 0, ""},
    {"0123456789012345678901234567890123456789012345678901234567890123.test", DNS_A, RESOLVER_NXDOMAIN, false,
     0, ""},
};

static void check(size_t i, const struct got *g)
{
    if (g->status != table[i].status || g->is_secure != table[i].is_secure || g->n_rdata != table[i].n_rdata)
        fail_msg("%s type %d: status %d, secure %d, %zu records, %s", table[i].name, (int)table[i].type,
                 (int)g->status, g->is_secure, g->n_rdata, g->why);
    assert_int_equal(g->status == RESOLVER_OK, g->why[0] == 0);
    if (table[i].canonical[0] != 0)
        assert_string_equal(g->canonical, table[i].canonical);
}

static void each_kind_of_answer(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 2; round++) { /* from the network, then from the cache */
        for (size_t i = 0; i < ARRAY_LEN(table); i++) {
            struct got g;
            ask_one(f, table[i].name, table[i].type, &g);
            check(i, &g);
        }
    }
}

static void all_at_once(void **state)
{
    struct fixture *f = *state;
    struct got *g = calloc(ARRAY_LEN(table), sizeof *g);
    assert_non_null(g);
    size_t n_left = ARRAY_LEN(table);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        ask(f, table[i].name, table[i].type, &g[i], &n_left);
    io_run(f->io);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        check(i, &g[i]);
    free(g);
}

static void record_data_is_uncompressed(void **state)
{
    struct fixture *f = *state;
    struct got g;
    bool has_mx1 = false;
    ask_one(f, "good.test", DNS_MX, &g);
    for (size_t i = 0; i < g.n_rdata; i++)
        has_mx1 = has_mx1 || str_eq(g.at[i], STR("\0\x0a\3mx1\4good\4test\0"));
    assert_true(has_mx1);
    assert_true(g.ttl_s > 0 && g.ttl_s <= 300);
    ask_one(f, "null.good.test", DNS_MX, &g);
    assert_true(str_eq(g.at[0], STR("\0\0\0")));
    ask_one(f, "mx3.good.test", DNS_A, &g);
    assert_true(str_eq(g.at[0], STR("\xc0\0\2\3")));
    ask_one(f, "text.good.test", DNS_TXT, &g);
    assert_true(str_eq(g.at[0], STR("\3one\3two")));
    ask_one(f, "alias.good.test", DNS_CNAME, &g);
    assert_true(str_eq(g.at[0], STR("\5chain\4good\4test\0")));
}

static void a_short_life_and_a_negative_one_are_told(void **state)
{
    struct fixture *f = *state;
    struct got g;
    ask_one(f, "short.good.test", DNS_A, &g);
    assert_true(g.ttl_s <= 1);
    ask_one(f, "nothing.good.test", DNS_A, &g);
    assert_true(g.ttl_s > 0 && g.ttl_s <= 60); /* the SOA's last field */
}

static void a_forged_answer_says_why(void **state)
{
    struct fixture *f = *state;
    struct got g;
    ask_one(f, "host.bogus.test", DNS_A, &g);
    assert_non_null(strstr(g.why, "host.bogus.test"));
}

static void too_many_questions_are_refused(void **state)
{
    struct fixture *f = *state;
    struct resolver *r = unbound_resolver(f->u);
    struct got *g = calloc(UNBOUND_OPEN_MAX, sizeof *g), one_more;
    assert_non_null(g);
    size_t n_left = UNBOUND_OPEN_MAX;
    for (size_t i = 0; i < UNBOUND_OPEN_MAX; i++) {
        char name[64];
        assert_true(snprintf(name, sizeof name, "n%zu.plain.test", i) > 0);
        ask(f, name, DNS_A, &g[i], &n_left);
    }
    assert_false(r->ask(r->self, STR("one.more.test"), DNS_A, on_answer, &one_more));
    io_run(f->io);
    for (size_t i = 0; i < UNBOUND_OPEN_MAX; i++)
        assert_int_equal(g[i].status, RESOLVER_NXDOMAIN);
    free(g);
    ask_one(f, "plain.test", DNS_MX, &one_more);
    assert_int_equal(one_more.status, RESOLVER_OK);
}

static void without_anchor_nothing_is_secure(void **state)
{
    struct fixture *f = *state;
    struct resolver_conf conf = {.root_hints = str_from_c(f->hints)};
    struct got g;
    configure(f, &conf);
    ask_one(f, "good.test", DNS_MX, &g);
    assert_int_equal(g.status, RESOLVER_OK);
    assert_false(g.is_secure);
    ask_one(f, "host.bogus.test", DNS_A, &g);
    assert_int_equal(g.status, RESOLVER_OK);
}

static void a_silent_server_is_not_waited_for(void **state)
{
    struct fixture *f = *state;
    struct got g;
    unbound_del(&f->u);
    f->u = unbound_new(f->io, 50);
    assert_non_null(f->u);
    struct resolver_conf conf = {.trust_anchor = str_from_c(f->anchor), .root_hints = str_from_c(f->hints)};
    configure(f, &conf);
    for (int i = 0; i < 3; i++) { /* the library is still at it */
        ask_one(f, "host.silent.test", DNS_A, &g);
        assert_int_equal(g.status, RESOLVER_FAILED);
        assert_string_equal(g.why, "no answer in time");
    }
}

/* The server of the lab is none that recurses, but its own names it knows. */
static void a_server_may_be_asked_instead(void **state)
{
    struct fixture *f = *state;
    struct netaddr server;
    struct got g;
    assert_true(netaddr_parse(STR("127.0.0.2:53"), 53, &server));
    struct resolver_conf conf = {.servers = &server, .n_servers = 1};
    configure(f, &conf);
    ask_one(f, "plain.test", DNS_MX, &g);
    assert_int_equal(g.status, RESOLVER_OK);
    assert_true(netaddr_parse(STR("127.0.0.1"), 53, &server));
    configure(f, &conf);
    ask_one(f, "plain.test", DNS_MX,
            &g); /* the root knows it not, and the cache went with the old settings */
    assert_int_not_equal(g.status, RESOLVER_OK);
}

/* Names of hosts(5) are not asked for; all others are as before. */
static void hosts_are_known(void **state)
{
    static const char hosts[] =
        "# a comment\n127.0.0.1 localhost\n192.0.2.7\tMail.lan mail # plain.test\r\n2001:db8::7 mail.lan\n"
        "nonsense words\n\n192.0.2.8\n192.0.2.9 -bad- a..b good.name.lan\nfe80::1%lo linklocal.lan\n";
    static const struct {
        const char *name;
        enum dns_type type;
        const char *address; /* NULL: there is none */
    } rows[] = {{"mail.lan", DNS_A, "192.0.2.7"},  {"mail.lan", DNS_AAAA, "2001:db8::7"},
                {"mail", DNS_A, "192.0.2.7"},      {"good.name.lan", DNS_A, "192.0.2.9"},
                {"localhost", DNS_A, "127.0.0.1"}, {"linklocal.lan", DNS_AAAA, NULL},
                {"other.lan", DNS_A, NULL}};
    struct fixture *f = *state;
    struct got g;
    struct resolver_conf conf = {.trust_anchor = str_from_c(f->anchor),
                                 .root_hints = str_from_c(f->hints),
                                 .hosts = str_from_c(hosts)};
    configure(f, &conf);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct netaddr got, want;
        ask_one(f, rows[i].name, rows[i].type, &g);
        if ((g.status == RESOLVER_OK) != (rows[i].address != NULL))
            fail_msg("%s: %d %s", rows[i].name, (int)g.status, g.why);
        if (rows[i].address == NULL)
            continue;
        assert_int_equal(g.n_rdata, 1);
        assert_true(dnsrr_address(rows[i].type, g.at[0], &got));
        assert_true(netaddr_parse_ip(str_from_c(rows[i].address), 0, &want) && netaddr_same_ip(&got, &want));
    }
    ask_one(f, "good.test", DNS_MX, &g);
    assert_true(g.status == RESOLVER_OK && g.is_secure);
}

static void new_settings_end_open_questions(void **state)
{
    struct fixture *f = *state;
    struct resolver_conf conf = {.trust_anchor = str_from_c(f->anchor), .root_hints = str_from_c(f->hints)};
    struct got g[2];
    size_t n_left = 2;
    ask(f, "mx1.good.test", DNS_A, &g[0], &n_left);
    configure(f, &conf);
    ask(f, "mx1.good.test", DNS_A, &g[1], &n_left);
    io_run(f->io);
    assert_int_equal(g[0].status, RESOLVER_FAILED);
    assert_int_equal(g[1].status, RESOLVER_OK);
}

static void bad_settings_are_refused_and_change_nothing(void **state)
{
    static const struct {
        const char *anchor, *hints, *why;
    } bad[] = {
        {"; only a comment\n", "", "no record"},
        {". IN DNSKEY (", "", "not ended"},
        {"this is no record", "", "its settings"},
        {"", "nothing here\n", "no address"},
    };
    struct fixture *f = *state;
    struct resolver *r = unbound_resolver(f->u);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char mem[256];
        struct buf why;
        struct got g;
        buf_init_fixed(&why, mem, sizeof mem);
        struct resolver_conf conf = {.trust_anchor = str_from_c(bad[i].anchor),
                                     .root_hints = str_from_c(bad[i].hints)};
        assert_false(r->configure(r->self, &conf, &why));
        if (str_find(buf_str(&why), str_from_c(bad[i].why)) == STR_NPOS)
            fail_msg("%.*s", STR_FMT(buf_str(&why)));
        ask_one(f, "good.test", DNS_MX, &g);
        assert_int_equal(g.status, RESOLVER_OK);
    }
}

static void it_may_go_with_questions_open(void **state)
{
    struct fixture *f = *state;
    size_t n_left = 2;
    struct got g[2];
    ask(f, "mx1.good.test", DNS_A, &g[0], &n_left);
    ask(f, "localhost", DNS_A, &g[1], &n_left); /* answered, not told */
    unbound_del(&f->u);
    assert_false(g[0].is_done || g[1].is_done);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(each_kind_of_answer),
        T(all_at_once),
        T(record_data_is_uncompressed),
        T(a_short_life_and_a_negative_one_are_told),
        T(a_forged_answer_says_why),
        T(too_many_questions_are_refused),
        T(without_anchor_nothing_is_secure),
        T(a_silent_server_is_not_waited_for),
        T(a_server_may_be_asked_instead),
        T(hosts_are_known),
        T(new_settings_end_open_questions),
        T(bad_settings_are_refused_and_change_nothing),
        T(it_may_go_with_questions_open),
    };
    return cmocka_run_group_tests_name("unbound", tests, NULL, NULL);
}
