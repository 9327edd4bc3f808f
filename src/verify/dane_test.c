#include "verify/dane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define D16 "0123456789abcdef"
#define D32 D16 D16
#define D64 D32 D32

static void reads_records(void **state)
{
    UNUSED(state);
    static const struct {
        struct str rdata;
        bool ok;
        const char *unusable; /* a part of the text, NULL: usable */
    } rows[] = {
        {STR_INIT("\3\1\1" D32), true, NULL},
        {STR_INIT("\3\0\2" D64), true, NULL},
        {STR_INIT("\2\0\1" D32), true, NULL},
        {STR_INIT("\2\1\0\x30\3abc"), true, NULL},
        {STR_INIT("\3\1\0\x30\x81\x80" D64 D64), true, NULL},
        {STR_INIT("\3\1\0\x30\x82\0\x80" D64 D64), true, "certificate"}, /* not the shortest length */
        {STR_INIT("\3\1\0\x30\x81\3abc"), true, "certificate"},
        {STR_INIT("\3\1\0\x30\2abc"), true, "certificate"},
        {STR_INIT("\3\1\0\x30\x80"), true, "certificate"},
        {STR_INIT("\3\1\0\x30\x84\0\0\0\3abc"), true, "certificate"},
        {STR_INIT("\3\1\0\x30\x82\1"), true, "certificate"},
        {STR_INIT("\3\1\0\x31\3abc"), true, "certificate"},
        {STR_INIT("\3\1\0\x30"), true, "certificate"},
        {STR_INIT("\0\1\1" D32), true, "usages 0 and 1"},
        {STR_INIT("\1\1\1" D32), true, "usages 0 and 1"},
        {STR_INIT("\4\1\1" D32), true, "usage"},
        {STR_INIT("\xff\1\1" D32), true, "usage"},
        {STR_INIT("\3\2\1" D32), true, "selector"},
        {STR_INIT("\3\1\3" D32), true, "matching"},
        {STR_INIT("\3\1\1" D64), true, "length"},
        {STR_INIT("\3\1\2" D32), true, "length"},
        {STR_INIT("\3\1\1" D16), true, "length"},
        {STR_INIT("\3\1\1x"), true, "length"},
        {STR_INIT("\3\1\1"), false, NULL},
        {STR_INIT("\3\1"), false, NULL},
        {{"", 0}, false, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct dane_record r = {0};
        assert_int_equal(dane_parse(rows[i].rdata, &r), rows[i].ok);
        if (!rows[i].ok)
            continue;
        assert_int_equal(r.data.n + 3, rows[i].rdata.n);
        const char *why = dane_unusable(&r);
        assert_int_equal(why == NULL, rows[i].unusable == NULL);
        if (why != NULL)
            assert_non_null(strstr(why, rows[i].unusable));
    }
}

static void bounds_records(void **state)
{
    UNUSED(state);
    static char big[DANE_DATA_MAX + 4];
    struct dane_record r;
    memcpy(big, "\3\0\0\x30\x82", 5);
    big[5] = (char)((DANE_DATA_MAX - 4) >> 8);
    big[6] = (char)((DANE_DATA_MAX - 4) & 0xff);
    assert_true(dane_parse(str_of(big, DANE_DATA_MAX + 3), &r));
    assert_null(dane_unusable(&r));
    assert_false(dane_parse(str_of(big, DANE_DATA_MAX + 4), &r));
}

static void formats_records(void **state)
{
    UNUSED(state);
    struct dane_record r;
    char mem[32];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(dane_parse(STR("\3\1\377\x0d\xfe\x00"), &r));
    dane_format(&r, &b);
    assert_true(str_eq(buf_str(&b), STR("3 1 255 0DFE00")));
}

/* ---- what they mean ------------------------------------------------------------------------------------ */

static const struct str good[] = {STR_INIT("\0\1\1" D32), STR_INIT("\3\1\1" D32), STR_INIT("bad"),
                                  STR_INIT("\2\0\2" D64)};
static const struct str useless[] = {STR_INIT("\0\1\1" D32), STR_INIT("\3\1\1x")};

#define FOUND(list, secure)                                                                                  \
    {                                                                                                        \
        DANE_FOUND, (secure), (list), ARRAY_LEN(list)                                                        \
    }
#define PLAIN(state, secure)                                                                                 \
    {                                                                                                        \
        (state), (secure), NULL, 0                                                                           \
    }
#define S(text) STR_INIT(text)

struct row {
    const char *name;
    struct dane_facts f;
    enum dane_result result;
    enum dane_why why;
    const char *questions; /* blank between them */
    const char *base, *names;
    size_t n_records;
    bool is_authentic;
};

#define HEAD .next_hop = S("example.org"), .host = S("mx.example.net"), .port = 25
#define NAMES "mx.example.net example.org"
#define TLSA_HOST "_25._tcp.mx.example.net"
#define TLSA_BOTH "_25._tcp.host.example.com _25._tcp.mx.example.net"
#define ALIAS .canonical = S("host.example.com")

/* clang-format off */
static const struct row rows[] = {
    {"a host without a name", {.next_hop = S("example.org"), .mx = DANE_MX_NONE, .port = 25,
     .address = PLAIN(DANE_FOUND, true)}, DANE_NONE, DANE_WHY_NO_NAME, NULL, NULL, NULL, 0, false},
    {"the address failed", {HEAD, .address = PLAIN(DANE_FAILED, false)}, DANE_DEFER, DANE_WHY_ADDRESS_FAILED,
     NULL, NULL, NULL, 0, false},
    {"an unsigned host is not asked for", {HEAD, .address = PLAIN(DANE_FOUND, false)}, DANE_NONE,
     DANE_WHY_ADDRESS_INSECURE, NULL, NULL, NULL, 0, false},
    {"a signed host is asked for", {HEAD, .address = PLAIN(DANE_FOUND, true)}, DANE_ASK, DANE_WHY_ASKING,
     TLSA_HOST, NULL, NULL, 0, false},
    {"its own name as canonical is no alias",
     {HEAD, .address = PLAIN(DANE_FOUND, true), .canonical = S("MX.example.NET")}, DANE_ASK, DANE_WHY_ASKING,
     TLSA_HOST, NULL, NULL, 0, false},
    {"another port", {.next_hop = S("relay.example"), .host = S("relay.example"), .port = 587,
     .mx = DANE_MX_NONE, .address = PLAIN(DANE_FOUND, true)}, DANE_ASK, DANE_WHY_ASKING,
     "_587._tcp.relay.example", NULL, NULL, 0, false},
    {"none there", {HEAD, .address = PLAIN(DANE_FOUND, true), .tlsa[0] = PLAIN(DANE_ABSENT, true)}, DANE_NONE,
     DANE_WHY_TLSA_ABSENT, NULL, NULL, NULL, 0, false},
    {"unsigned ones are none", {HEAD, .address = PLAIN(DANE_FOUND, true), .tlsa[0] = FOUND(good, false)},
     DANE_NONE, DANE_WHY_TLSA_INSECURE, NULL, NULL, NULL, 0, false},
    {"forged or lost", {HEAD, .address = PLAIN(DANE_FOUND, true), .tlsa[0] = PLAIN(DANE_FAILED, false)},
     DANE_DEFER, DANE_WHY_TLSA_FAILED, NULL, NULL, NULL, 0, false},
    {"usable", {HEAD, .address = PLAIN(DANE_FOUND, true), .tlsa[0] = FOUND(good, true)}, DANE_USABLE,
     DANE_WHY_TLSA_USABLE, NULL, "mx.example.net", NAMES, 2, true},
    {"no usable one", {HEAD, .address = PLAIN(DANE_FOUND, true), .tlsa[0] = FOUND(useless, true)},
     DANE_UNUSABLE, DANE_WHY_TLSA_UNUSABLE, NULL, "mx.example.net", NAMES, 0, true},
    {"an alias of the next hop", {HEAD, .next_hop_canonical = S("example.edu"),
     .address = PLAIN(DANE_FOUND, true), .tlsa[0] = FOUND(good, true)}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL,
     "mx.example.net", NAMES " example.edu", 2, true},
    /* the host is an alias, all signed */
    {"both are asked at once", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true)}, DANE_ASK, DANE_WHY_ASKING,
     TLSA_BOTH, NULL, NULL, 0, false},
    {"the expanded name first", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true), .tlsa[0] = FOUND(good, true),
     .tlsa[1] = FOUND(useless, true)}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL, "host.example.com",
     "host.example.com " NAMES, 2, true},
    {"and without the other answer", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa[0] = FOUND(good, true)}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL, "host.example.com",
     "host.example.com " NAMES, 2, true},
    {"even when only the other one is usable", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa[0] = FOUND(useless, true), .tlsa[1] = FOUND(good, true)}, DANE_UNUSABLE, DANE_WHY_TLSA_UNUSABLE,
     NULL, "host.example.com", "host.example.com " NAMES, 0, true},
    {"the second waits for the first", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa[1] = FOUND(good, true)}, DANE_ASK, DANE_WHY_ASKING, "_25._tcp.host.example.com", NULL, NULL, 0,
     false},
    {"the name itself second", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa = {PLAIN(DANE_ABSENT, true), FOUND(good, true)}}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL,
     "mx.example.net", NAMES, 2, true},
    {"nor when the first is not signed", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa = {FOUND(useless, false), FOUND(good, true)}}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL,
     "mx.example.net", NAMES, 2, true},
    {"a failed first one hides nothing", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa = {PLAIN(DANE_FAILED, false), FOUND(good, true)}}, DANE_DEFER, DANE_WHY_TLSA_FAILED, NULL, NULL,
     NULL, 0, false},
    {"a failed second one counts when it is asked for", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa = {PLAIN(DANE_ABSENT, true), PLAIN(DANE_FAILED, false)}}, DANE_DEFER, DANE_WHY_TLSA_FAILED, NULL,
     NULL, NULL, 0, false},
    {"a failed second one does not count else", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, true),
     .tlsa = {FOUND(good, true), PLAIN(DANE_FAILED, false)}}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL,
     "host.example.com", "host.example.com " NAMES, 2, true},
    /* an alias that leads out of what is signed */
    {"is its CNAME signed", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, false)}, DANE_ASK, DANE_WHY_ASKING,
     "mx.example.net", NULL, NULL, 0, false},
    {"it is", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, false), .cname = PLAIN(DANE_FOUND, true)}, DANE_ASK,
     DANE_WHY_ASKING, TLSA_HOST, NULL, NULL, 0, false},
    {"it is not", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, false), .cname = PLAIN(DANE_FOUND, false)},
     DANE_NONE, DANE_WHY_CNAME_INSECURE, NULL, NULL, NULL, 0, false},
    {"it is gone", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, false), .cname = PLAIN(DANE_ABSENT, true)},
     DANE_NONE, DANE_WHY_CNAME_INSECURE, NULL, NULL, NULL, 0, false},
    {"it failed", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, false), .cname = PLAIN(DANE_FAILED, false)},
     DANE_DEFER, DANE_WHY_CNAME_FAILED, NULL, NULL, NULL, 0, false},
    {"only the name itself is a base then", {HEAD, ALIAS, .address = PLAIN(DANE_FOUND, false),
     .cname = PLAIN(DANE_FOUND, true), .tlsa = {FOUND(useless, true), FOUND(good, true)}}, DANE_USABLE,
     DANE_WHY_TLSA_USABLE, NULL, "mx.example.net", NAMES, 2, true},
    /* RFC 7672 2.2.1 */
    {"a host of an unsigned MX", {HEAD, .mx = DANE_MX_INSECURE, .address = PLAIN(DANE_FOUND, true),
     .tlsa[0] = FOUND(good, true)}, DANE_USABLE, DANE_WHY_TLSA_USABLE, NULL, "mx.example.net",
     "mx.example.net", 2, false},
    {"and where that is not wanted", {HEAD, .mx = DANE_MX_INSECURE, .ignore_insecure_mx = true,
     .address = PLAIN(DANE_FOUND, true), .tlsa[0] = FOUND(good, true)}, DANE_NONE, DANE_WHY_MX_INSECURE, NULL,
     NULL, NULL, 0, false},
};
/* clang-format on */

static void join(struct buf *b, struct str s)
{
    buf_puts(b, b->n > 0 ? " " : "");
    buf_put(b, s);
}

static void judges(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct dane_verdict v;
        char q_mem[1024], n_mem[1024];
        struct buf questions, names;
        buf_init_fixed(&questions, q_mem, sizeof q_mem);
        buf_init_fixed(&names, n_mem, sizeof n_mem);
        dane_judge(&r->f, &v);
        for (size_t k = 0; k < v.n_questions; k++) {
            const struct dane_question *q = &v.questions[k];
            join(&questions, str_of(q->name, q->n));
            assert_int_equal(q->type == DNS_TLSA, q->name[0] == '_');
            bool is_open = q->type == DNS_TLSA ? r->f.tlsa[q->slot].status == DANE_NOT_ASKED
                                               : r->f.cname.status == DANE_NOT_ASKED;
            assert_true(is_open);
        }
        for (size_t k = 0; k < v.n_names; k++)
            join(&names, v.names[k]);
        bool ok = v.result == r->result && v.why == r->why && v.n_records == r->n_records &&
                  str_eq(buf_str(&questions), str_from_c(r->questions)) &&
                  str_eq(v.base, str_from_c(r->base)) && str_eq(buf_str(&names), str_from_c(r->names)) &&
                  v.is_next_hop_authentic == r->is_authentic;
        if (!ok)
            print_message("# %s: %d, %s, asks %.*s, base %.*s, names %.*s\n", r->name, (int)v.result,
                          dane_why_text(v.why), STR_FMT(buf_str(&questions)), STR_FMT(v.base),
                          STR_FMT(buf_str(&names)));
        assert_true(ok);
        assert_true((v.result == DANE_ASK) == (v.n_questions > 0));
    }
}

/* Answering what is asked for always ends, whatever the answers are. */
static void ends(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 2 * 2 * 8 * 8 * 8; i++) {
        struct dane_facts f = {HEAD, .address = {DANE_FOUND, i & 1, NULL, 0}};
        if ((i & 2) != 0)
            f.canonical = STR("host.example.com");
        unsigned answers = i >> 2;
        struct dane_verdict v;
        size_t rounds = 0;
        for (dane_judge(&f, &v); v.result == DANE_ASK; dane_judge(&f, &v)) {
            assert_true(++rounds <= 2);
            for (size_t k = 0; k < v.n_questions; k++) {
                struct dane_answer *a =
                    v.questions[k].type == DNS_TLSA ? &f.tlsa[v.questions[k].slot] : &f.cname;
                *a = (struct dane_answer){DANE_FOUND + (answers & 3) % 3, (answers & 4) != 0, good, 4};
                answers >>= 3;
            }
        }
        assert_true(v.why < DANE_WHYS && strlen(dane_why_text(v.why)) > 5);
        if (v.result == DANE_USABLE)
            assert_true(v.base.n > 0 && v.n_names > 0 && str_eq(v.names[0], v.base));
    }
}

static void bounds_sets_and_names(void **state)
{
    UNUSED(state);
    struct str many[DANE_RECORDS_MAX + 5];
    for (size_t i = 0; i < ARRAY_LEN(many); i++)
        many[i] = good[1];
    struct dane_facts f = {HEAD, .address = {DANE_FOUND, true, NULL, 0},
                           .tlsa[0] = {DANE_FOUND, true, many, ARRAY_LEN(many)}};
    struct dane_verdict v;
    dane_judge(&f, &v);
    assert_int_equal(v.n_records, DANE_RECORDS_MAX);
    /* with _25._tcp. before it, it is too long for DNS: nothing can be there, and nothing is asked */
    char name[DNS_NAME_MAX];
    memset(name, 'a', sizeof name);
    for (size_t i = 60; i < sizeof name; i += 61)
        name[i] = '.';
    f.tlsa[0].status = DANE_NOT_ASKED;
    f.host = str_of(name, 244);
    dane_judge(&f, &v);
    assert_int_equal(v.result, DANE_ASK);
    assert_int_equal(v.questions[0].n, 253);
    f.host = str_of(name, 245);
    dane_judge(&f, &v);
    assert_int_equal(v.result, DANE_NONE);
    /* the longest alias still has its CNAME asked for */
    f.address.is_secure = false;
    f.canonical = STR("host.example.com");
    f.host = str_of(name, 253);
    dane_judge(&f, &v);
    assert_int_equal(v.n_questions, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_records),
        cmocka_unit_test(bounds_records),
        cmocka_unit_test(formats_records),
        cmocka_unit_test(judges),
        cmocka_unit_test(ends),
        cmocka_unit_test(bounds_sets_and_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
