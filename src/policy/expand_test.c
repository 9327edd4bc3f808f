#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "policy/policy.h"

#include <stdio.h>
#include <string.h>

/* ---- one configuration for all tables ---------------------------------------------------------- */

#define NAME(s)                                                                                              \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }
#define TO(s)                                                                                                \
    {                                                                                                        \
        .kind = ALIAS_ADDRESS, .text = NAME(s)                                                               \
    }
#define SELF(s)                                                                                              \
    {                                                                                                        \
        .kind = ALIAS_SELF, .text = NAME(s)                                                                  \
    }
#define RUN(program)                                                                                         \
    {                                                                                                        \
        .kind = ALIAS_PIPE, .text = NAME("|" program), .pipe = &(const struct deliver)                       \
        {                                                                                                    \
            .kind = DELIVER_PIPE, .argv = (const struct str[]){NAME(program)}, .n_argv = 1,                  \
            .user_name = NAME("vmail"), .uid = 1000, .gid = 1001                                             \
        }                                                                                                    \
    }
#define ALIAS(n, ...)                                                                                        \
    {                                                                                                        \
        .name = NAME(n), .targets = (const struct alias_target[]){__VA_ARGS__},                              \
        .n_targets = sizeof((const struct alias_target[]){__VA_ARGS__}) / sizeof(struct alias_target)        \
    }
#define LIST(n, ...)                                                                                         \
    {                                                                                                        \
        .name = NAME(n), .owner = NAME("owner-" n "@example.org"),                                           \
        .targets = (const struct alias_target[]){__VA_ARGS__},                                               \
        .n_targets = sizeof((const struct alias_target[]){__VA_ARGS__}) / sizeof(struct alias_target)        \
    }

static const struct str users[] = {{"ann", 3},   {"each1", 5}, {"each2", 5}, {"joe", 3}, {"joe+work", 8},
                                   {"knot2", 5}, {"max", 3},   {"mia", 3},   {"mim", 3}, {"zoe", 3}};
/* sorted by name */
static const struct alias aliases[] = {
    ALIAS("a", TO("b@example.org")),
    ALIAS("a%b", TO("ann@example.org")),
    ALIAS("abuse", TO("zoe@example.org")),
    ALIAS("b", TO("c@example.org"), TO("joe@example.org")),
    ALIAS("c", TO("a@example.org")),
    ALIAS("circle1", TO("circle2@example.org")),
    ALIAS("circle2", TO("circle1@example.org")),
    ALIAS("each1", TO("each2@example.org")),
    ALIAS("each2", TO("each1@example.org")),
    LIST("eachlist", TO("Each2@alias.example"), TO("each1@example.org")),
    ALIAS("eachother", TO("each1@example.org"), TO("each2@example.org")),
    ALIAS("gone", TO("nobody@example.org")),
    ALIAS("itself", TO("itself@example.org")),
    ALIAS("joe", SELF("joe@example.org"), TO("joe@elsewhere.example")),
    /* knot1, knot2 (a user) and knot3 name each other in a ring, and knot3 leads out of it too */
    ALIAS("knot", TO("knot1@example.org"), TO("knot2@example.org"), TO("knot3@example.org")),
    ALIAS("knot1", TO("knot2@example.org")),
    ALIAS("knot2", TO("knot3@example.org")),
    ALIAS("knot3", TO("knot1@example.org"), TO("x@elsewhere.example")),
    LIST("list", TO("ann@example.org"), TO("sub@example.org"), TO("Ann@EXAMPLE.org"),
         TO("x@elsewhere.example")),
    ALIAS("max", TO("max@alias.example"), TO("x@elsewhere.example")),
    ALIAS("mia", TO("mia+box@example.org")),
    ALIAS("mim", TO("zoe2@example.org"), TO("x@elsewhere.example")),
    ALIAS("mixed", RUN("/bin/one"), TO("zoe@example.org"), RUN("/bin/two"), SELF("ann@example.org")),
    ALIAS("owner-list", TO("zoe@example.org")),
    ALIAS("owner-sub", TO("ann@example.org")),
    ALIAS("plus+detail", TO("zoe@example.org")),
    ALIAS("same", TO("ann@alias.example"), TO("ann@example.org"), TO("\"ann\"@Example.Org"),
          TO("X@elsewhere.example"), TO("x@elsewhere.example"), TO("x@ELSEWHERE.example")),
    ALIAS("sidebyside", TO("circle1@example.org"), TO("circle2@example.org")),
    LIST("sub", TO("joe@example.org"), TO("x@elsewhere.example"), TO("list@example.org"),
         RUN("/bin/archive")),
    ALIAS("tocatch", TO("any.one@catch.example"), TO("other@catch.example")),
    ALIAS("toliteral", TO("joe@[192.0.2.1]")),
    ALIAS("topostmaster", TO("postmaster@catch.example")),
    ALIAS("totwice", TO("abuse@example.org"), TO("owner-list@example.org")),
    ALIAS("toutf8",
          TO("joe@b\xc3\xbc"
             "cher.example"),
          TO("joe@xn--bcher-kva.example")),
    ALIAS("zoe2", TO("mim+y@alias.example")),
};
static const struct alias catch_aliases[] = {
    ALIAS("team", TO("ann@example.org"), TO("box@elsewhere.example"))};
static const struct str catch_users[] = {{"root", 4}};

#define LMTP                                                                                                 \
    {                                                                                                        \
        .kind = DELIVER_LMTP, .lmtp_host = NAME("dovecot"), .lmtp = {.port = 24 }                            \
    }
static const struct local_domain domains[] = {
    {.name = NAME("alias.example"),
     .same_as = NAME("example.org"),
     .users = users,
     .n_users = ARRAY_LEN(users),
     .deliver = LMTP},
    {.name = NAME("catch.example"),
     .plus = NAME("+-"),
     .aliases = catch_aliases,
     .n_aliases = 1,
     .users = catch_users,
     .n_users = 1,
     .catchall = NAME("team"),
     .deliver = LMTP},
    {.name = NAME("example.org"),
     .plus = NAME("+"),
     .aliases = aliases,
     .n_aliases = ARRAY_LEN(aliases),
     .users = users,
     .n_users = ARRAY_LEN(users),
     .deliver = LMTP},
    {.name = NAME("loop1.example"), .catchall = NAME("x@loop2.example"), .deliver = LMTP},
    {.name = NAME("loop2.example"), .catchall = NAME("x@loop1.example"), .deliver = LMTP},
    {.name = NAME("noplus.example"), .users = users, .n_users = ARRAY_LEN(users), .deliver = LMTP},
};

static bool bucher(struct str domain, struct buf *out)
{
    return str_eq(domain, STR("b\xc3\xbc"
                              "cher.example")) &&
           buf_puts(out, "xn--bcher-kva.example");
}

static const struct netaddr own = {.kind = NETADDR_IP4, .ip = {192, 0, 2, 25}};

static struct policy_conf conf(void)
{
    return (struct policy_conf){.hostname = STR("mail.example.org"),
                                .postmaster = STR("joe@example.org"),
                                .domains = domains,
                                .n_domains = ARRAY_LEN(domains),
                                .addresses = &own,
                                .n_addresses = 1,
                                .to_ascii = bucher};
}

struct memory {
    struct chunk_pool pool;
    struct arena arena;
};
static void memory_init(struct memory *m)
{
    chunk_pool_init(&m->pool, 4096, 10000);
    arena_init(&m->arena, &m->pool, (size_t)4096 * 10000);
}
static void memory_fini(struct memory *m)
{
    arena_reset(&m->arena);
    chunk_pool_fini(&m->pool);
}

/* "ALIAS ann@example.org joe@elsewhere.example/owner-list@example.org mixed@example.org|1". */
static void show(const struct expansion *e, struct buf *out)
{
    static const char *const kinds[] = {"NONE", "ALIAS", "FAILED "};
    buf_puts(out, kinds[e->kind]);
    if (e->kind == EXPAND_FAILED)
        esc_format(e->esc, out);
    for (size_t i = 0; i < e->n_targets; i++) {
        const struct expand_target *t = &e->targets[i];
        assert_int_equal(t->flags, RCPT_IS_EXPANDED);
        buf_putc(out, ' ');
        buf_put(out, t->address);
        if (t->target != 0)
            buf_printf(out, "|%u", (unsigned)t->target);
        if (t->owner.n > 0)
            buf_printf(out, "/%.*s", STR_FMT(t->owner));
    }
}

struct row {
    const char *address, *wanted;
};

static void check(const struct policy_conf *p, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct memory m;
        struct expansion e;
        struct buf text;
        struct rcpt r = {.address = str_from_c(rows[i].address)};
        memory_init(&m);
        buf_init(&text, 1 << 20);
        assert_true(policy_expand(p, &r, &m.arena, &e));
        show(&e, &text);
        if (!str_eq(buf_str(&text), str_from_c(rows[i].wanted)))
            fail_msg("%s: %.*s\nand not %s", rows[i].address, STR_FMT(buf_str(&text)), rows[i].wanted);
        assert_int_equal(e.phrase != NULL, e.kind == EXPAND_FAILED);
        buf_fini(&text);
        memory_fini(&m);
    }
}

/* clang-format off */
static const struct row rows[] = {
    /* nothing to expand */
    {"ann@example.org", "NONE"},
    {"ann+tag@example.org", "NONE"},
    {"nobody@example.org", "NONE"},
    {"joe@elsewhere.example", "NONE"},
    {"joe@[192.0.2.1]", "NONE"},
    {"joe@[192.0.2.25]", "NONE"},
    {"x@loop1.example", "NONE"}, /* redirections only, in a circle: the route says nowhere */
    {"", "NONE"},
    {"joe", "NONE"},
    {"joe@", "NONE"},
    {"list@noplus.example", "NONE"},
    /* itself and elsewhere; the plus part stays with the user's own mailbox */
    {"joe@example.org", "ALIAS joe@example.org joe@elsewhere.example"},
    {"JOE@Example.Org", "ALIAS JOE@Example.Org joe@elsewhere.example"},
    {"joe+tag@example.org", "ALIAS joe+tag@example.org joe@elsewhere.example"},
    {"\"joe\"@example.org", "ALIAS \"joe\"@example.org joe@elsewhere.example"},
    {"joe@alias.example", "ALIAS joe@alias.example joe@elsewhere.example"},
    {"joe+x@alias.example", "ALIAS joe+x@alias.example joe@elsewhere.example"},
    /* an alias without its plus part goes before a user with it: aliases go before users */
    {"joe+work@example.org", "ALIAS joe+work@example.org joe@elsewhere.example"},
    {"plus+detail@example.org", "ALIAS zoe@example.org"},
    {"plus+other@example.org", "NONE"},
    {"plus@example.org", "NONE"},
    {"a%b@example.org", "ALIAS ann@example.org"}, /* listed by name */
    /* circles */
    {"a@example.org", "ALIAS joe@example.org joe@elsewhere.example"}, /* a b c a, with a way out */
    {"circle1@example.org", "FAILED 5.4.6"},
    {"circle2@alias.example", "FAILED 5.4.6"},
    {"itself@example.org", "FAILED 5.4.6"},
    /* side by side, whatever way they are met */
    {"sidebyside@example.org", "FAILED 5.4.6"},
    {"each1@example.org", "ALIAS each1@example.org"},
    {"each2@example.org", "ALIAS each2@example.org"},
    {"eachother@example.org", "ALIAS each2@example.org each1@example.org"},
    {"eachlist@example.org", "ALIAS each1@example.org/owner-eachlist@example.org "
     "Each2@alias.example/owner-eachlist@example.org"},
    {"knot@example.org", "ALIAS x@elsewhere.example knot2@example.org"},
    {"knot2@example.org", "ALIAS knot2@example.org x@elsewhere.example"},
    {"totwice@example.org", "ALIAS zoe@example.org"},
    /* who names himself by another of his addresses keeps his mail */
    {"max@example.org", "ALIAS max@example.org x@elsewhere.example"},
    {"Max+t@alias.example", "ALIAS Max+t@alias.example x@elsewhere.example"},
    {"mia@example.org", "ALIAS mia+box@example.org"},
    {"mia+x@alias.example", "ALIAS mia+box@example.org"},
    /* also by way of another alias, which is no user */
    {"mim@example.org", "ALIAS mim+y@alias.example x@elsewhere.example"},
    {"zoe2@example.org", "ALIAS x@elsewhere.example"},
    {"gone@example.org", "ALIAS nobody@example.org"}, /* the route says that there is no such user */
    /* lists: members that are met twice get one copy, and the sender is the innermost list's owner */
    {"list@example.org", "ALIAS ann@example.org/owner-list@example.org sub@example.org|1/owner-sub@example.org "
     "x@elsewhere.example/owner-list@example.org joe@example.org/owner-sub@example.org "
     "joe@elsewhere.example/owner-sub@example.org"},
    {"sub@example.org", "ALIAS sub@example.org|1/owner-sub@example.org joe@example.org/owner-sub@example.org "
     "x@elsewhere.example/owner-sub@example.org joe@elsewhere.example/owner-sub@example.org "
     "ann@example.org/owner-list@example.org"},
    {"owner-list@example.org", "ALIAS zoe@example.org"},
    /* programs */
    {"mixed@example.org", "ALIAS mixed@example.org|1 mixed@example.org|2 ann@example.org zoe@example.org"},
    {"Mixed+x@example.org", "ALIAS Mixed+x@example.org|1 Mixed+x@example.org|2 ann@example.org zoe@example.org"},
    /* the same mailbox under several names; a foreign local part has its case */
    {"same@example.org", "ALIAS ann@alias.example X@elsewhere.example x@elsewhere.example"},
    {"toutf8@example.org", "ALIAS joe@b\xc3\xbc""cher.example"},
    {"toliteral@example.org", "ALIAS joe@[192.0.2.1]"},
    /* catch-alls and postmaster lead on */
    {"any@catch.example", "ALIAS ann@example.org box@elsewhere.example"},
    {"team-x@catch.example", "ALIAS ann@example.org box@elsewhere.example"},
    {"tocatch@example.org", "ALIAS ann@example.org box@elsewhere.example"},
    {"a%b@catch.example", "NONE"},
    {"root@catch.example", "NONE"},
    {"abuse@example.org", "ALIAS zoe@example.org"},
    {"postmaster@example.org", "ALIAS joe@example.org joe@elsewhere.example"},
    {"postmaster", "ALIAS joe@example.org joe@elsewhere.example"},
    {"POSTMASTER@[192.0.2.25]", "ALIAS joe@example.org joe@elsewhere.example"},
    {"postmaster@[192.0.2.26]", "NONE"},
    {"topostmaster@example.org", "ALIAS joe@example.org joe@elsewhere.example"},
};
static const struct row without_postmaster[] = {
    {"postmaster", "NONE"},
    {"postmaster@example.org", "NONE"},
    {"postmaster@catch.example", "ALIAS ann@example.org box@elsewhere.example"},
};
/* clang-format on */

static void test_expand(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    check(&p, rows, ARRAY_LEN(rows));
    p.postmaster = STR_NIL;
    check(&p, without_postmaster, ARRAY_LEN(without_postmaster));
}

static void test_not_again(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    struct memory m;
    struct expansion e;
    struct rcpt once = {.address = STR("joe@example.org"), .flags = RCPT_IS_EXPANDED},
                pipe = {.address = STR("mixed@example.org"), .target = 1};
    memory_init(&m);
    assert_true(policy_expand(&p, &once, &m.arena, &e));
    assert_int_equal(e.kind, EXPAND_NONE);
    assert_true(policy_expand(&p, &pipe, &m.arena, &e));
    assert_int_equal(e.kind, EXPAND_NONE);
    memory_fini(&m);
}

/* Whatever a target is, its route does not lead back into the aliases. */
static void test_targets_are_routed(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    static const struct {
        const char *address;
        enum route_kind kind;
        const char *user, *detail, *site;
    } wanted[] = {
        {"joe@example.org", ROUTE_LMTP, "joe", "", "lmtp:dovecot:24"},
        {"joe+tag@example.org", ROUTE_LMTP, "joe", "tag", "lmtp:dovecot:24"},
        {"joe+work@example.org", ROUTE_LMTP, "joe+work", "", "lmtp:dovecot:24"},
        {"joe+work@noplus.example", ROUTE_LMTP, "joe+work", "", "lmtp:dovecot:24"},
        {"joe+tag@noplus.example", ROUTE_NOWHERE, "", "", "nowhere"},
        {"joe@elsewhere.example", ROUTE_MX, "", "", "mx:elsewhere.example"},
        {"sub@example.org", ROUTE_NOWHERE, "", "", "nowhere"},
        {"joe@b\xc3\xbc"
         "cher.example",
         ROUTE_MX, "", "", "mx:xn--bcher-kva.example"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        char mem[8192];
        struct buf text;
        struct route r;
        struct rcpt rcpt = {.address = str_from_c(wanted[i].address), .flags = RCPT_IS_EXPANDED};
        buf_init_fixed(&text, mem, sizeof mem);
        policy_route(&p, &(struct route_ask){.rcpt = &rcpt}, &text, &r);
        size_t at = text.n;
        policy_site(&p, &r, &text);
        if (r.kind != wanted[i].kind || !str_eq(r.user, str_from_c(wanted[i].user)) ||
            !str_eq(r.detail, str_from_c(wanted[i].detail)) ||
            !str_eq(str_skip(buf_str(&text), at), str_from_c(wanted[i].site)))
            fail_msg("%s: %d %.*s %.*s", wanted[i].address, (int)r.kind, STR_FMT(r.user),
                     STR_FMT(buf_str(&text)));
    }
}

static void test_pipes(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    const struct deliver *d = policy_pipe(&p, STR("mixed@example.org"), 2);
    assert_non_null(d);
    assert_true(str_eq(d->argv[0], STR("/bin/two")));
    assert_ptr_equal(policy_pipe(&p, STR("Mixed+x@alias.example"), 2), d);
    assert_null(policy_pipe(&p, STR("mixed@example.org"), 3));
    assert_null(policy_pipe(&p, STR("mixed@example.org"), 0));
    assert_null(policy_pipe(&p, STR("ann@example.org"), 1));
    assert_null(policy_pipe(&p, STR("mixed@elsewhere.example"), 1));
    assert_null(policy_pipe(&p, STR("mixed"), 1));
    char mem[8192];
    struct buf text;
    struct route r;
    struct rcpt rcpt = {.address = STR("Mixed+X@example.org"), .target = 1, .flags = RCPT_IS_EXPANDED};
    buf_init_fixed(&text, mem, sizeof mem);
    policy_route(&p, &(struct route_ask){.rcpt = &rcpt}, &text, &r);
    assert_int_equal(r.kind, ROUTE_PIPE);
    assert_true(str_eq(r.deliver->argv[0], STR("/bin/one")) && r.uid == 1000 && r.gid == 1001);
    assert_true(str_eq(r.user, STR("mixed")) && str_eq(r.detail, STR("x")) &&
                str_eq(r.domain, STR("example.org")) && str_eq(r.login, STR("vmail")));
    rcpt.target = 3;
    buf_reset(&text);
    policy_route(&p, &(struct route_ask){.rcpt = &rcpt}, &text, &r);
    assert_int_equal(r.kind, ROUTE_NOWHERE);
}

static void test_keys(void **state)
{
    UNUSED(state);
    struct policy_conf p = conf();
    static const struct {
        const char *a, *b;
        bool is_same;
    } pairs[] = {
        {"joe@example.org", "JOE@EXAMPLE.ORG", true},
        {"joe@example.org", "\"joe\"@alias.example", true},
        {"joe@example.org", "joe+x@example.org", false},
        {"joe@elsewhere.example", "joe@ELSEWHERE.example", true},
        {"joe@elsewhere.example", "Joe@elsewhere.example", false},
        {"joe@b\xc3\xbc"
         "cher.example",
         "joe@xn--bcher-kva.example", true},
        {"joe@example.org", "joe@noplus.example", false},
        {"joe", "JOE", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        char mem[2][1024];
        struct buf key[2];
        for (unsigned k = 0; k < 2; k++) {
            struct rcpt r = {.address = str_from_c(k == 0 ? pairs[i].a : pairs[i].b)};
            buf_init_fixed(&key[k], mem[k], sizeof mem[k]);
            policy_rcpt_key(&p, &r, &key[k]);
        }
        if (str_eq(buf_str(&key[0]), buf_str(&key[1])) != pairs[i].is_same)
            fail_msg("%s %s", pairs[i].a, pairs[i].b);
    }
    char mem[1024];
    struct buf key;
    buf_init_fixed(&key, mem, sizeof mem);
    policy_rcpt_key(&p, &(struct rcpt){.address = STR("joe@example.org"), .target = 7}, &key);
    assert_true(str_eq(buf_str(&key), STR("joe@example.org|7")));
}

/* ---- limits ------------------------------------------------------------------------------------ */

struct many {
    struct alias_target *targets;
    struct alias *aliases;
    struct local_domain domain;
    struct policy_conf p;
    char (*text)[32];
};

/* chain: alias 1 leads to 2, 2 to 3, ...; else one alias leads to n users. */
static void many_init(struct many *m, size_t n, bool chain)
{
    m->targets = mem_alloc_array(n, sizeof *m->targets);
    m->aliases = mem_alloc_array(n, sizeof *m->aliases);
    m->text = mem_alloc_array(n, sizeof *m->text);
    assert_true(m->targets != NULL && m->aliases != NULL && m->text != NULL);
    for (size_t i = 0; i < n; i++) {
        int len = snprintf(m->text[i], sizeof m->text[i], "a%06zu@m.example", chain ? i + 1 : i);
        m->targets[i] = (struct alias_target){.kind = ALIAS_ADDRESS, .text = str_of(m->text[i], (size_t)len)};
        if (chain && i > 0)
            m->aliases[i] =
                (struct alias){.name = str_of(m->text[i - 1], 7), .targets = &m->targets[i], .n_targets = 1};
    }
    m->aliases[0] = (struct alias){
        .name = chain ? STR("a") : STR("list"), .targets = m->targets, .n_targets = chain ? 1 : n};
    m->domain = (struct local_domain){.name = STR("m.example"),
                                      .any_user = true,
                                      .aliases = m->aliases,
                                      .n_aliases = chain ? n : 1,
                                      .deliver = LMTP};
    m->p = (struct policy_conf){.hostname = STR("m.example"), .domains = &m->domain, .n_domains = 1};
}

static void many_fini(struct many *m)
{
    mem_free(m->targets);
    mem_free(m->aliases);
    mem_free(m->text);
}

static struct expansion expand_many(size_t n, bool chain)
{
    struct many many;
    struct memory m;
    struct expansion e;
    struct rcpt r = {.address = chain ? STR("a@m.example") : STR("list@m.example")};
    many_init(&many, n, chain);
    memory_init(&m);
    assert_true(policy_expand(&many.p, &r, &m.arena, &e));
    memory_fini(&m);
    many_fini(&many);
    return e;
}

static void test_limits(void **state)
{
    UNUSED(state);
    assert_int_equal(expand_many(EXPAND_DEPTH_MAX, true).kind, EXPAND_ALIAS);
    struct expansion e = expand_many(EXPAND_DEPTH_MAX + 1, true);
    assert_int_equal(e.kind, EXPAND_FAILED);
    assert_int_equal(e.esc.class, 4);
    e = expand_many(EXPAND_TARGETS_MAX - 1, false);
    assert_int_equal(e.kind, EXPAND_ALIAS);
    assert_int_equal(e.n_targets, EXPAND_TARGETS_MAX - 1);
    e = expand_many(EXPAND_TARGETS_MAX, false);
    assert_int_equal(e.kind, EXPAND_FAILED);
    assert_int_equal(e.esc.class, 4);
}

/* Memory that runs out at any point is no verdict. */
static void test_little_memory(void **state)
{
    UNUSED(state);
    struct many many;
    bool was_enough = false;
    struct rcpt r = {.address = STR("list@m.example")};
    many_init(&many, 100, false);
    for (size_t limit = 0; limit < 60000; limit += 32) {
        struct memory m;
        struct expansion e;
        memory_init(&m);
        m.arena.limit = limit;
        bool is_enough = policy_expand(&many.p, &r, &m.arena, &e);
        assert_true(is_enough || !was_enough);
        assert_true(!is_enough || e.n_targets == 100);
        was_enough = is_enough;
        memory_fini(&m);
    }
    assert_true(was_enough);
    many_fini(&many);
}

/* The queue reads what comes for a return path of list mail; a list that leads to one reaches nobody. */
static void test_return_path(void **state)
{
    UNUSED(state);
    static const struct alias_target to[] = {TO("bounce+x=one.two-aaaaaaaa@list.example"), TO("x@one.two")};
    static const struct alias list[] = {
        {.name = NAME("news"), .targets = to, .n_targets = 2, .owner = NAME("owner-news@list.example")}};
    static const struct local_domain ours[] = {
        {.name = NAME("list.example"), .aliases = list, .n_aliases = 1}};
    struct policy_conf p = {.domains = ours, .n_domains = 1, .verp = STR("bounce")};
    struct chunk_pool pool;
    struct arena a;
    struct expansion x;
    chunk_pool_init(&pool, 4096, 64);
    arena_init(&a, &pool, 65536);
    assert_true(policy_expand(&p, &(struct rcpt){.address = to[0].text}, &a, &x));
    assert_int_equal(x.kind, EXPAND_REPORT);
    assert_true(policy_expand(&p, &(struct rcpt){.address = to[0].text, .flags = RCPT_IS_EXPANDED}, &a, &x));
    assert_int_equal(x.kind, EXPAND_NONE);
    assert_true(policy_expand(&p, &(struct rcpt){.address = STR("news@list.example")}, &a, &x));
    assert_true(x.kind == EXPAND_ALIAS && x.n_targets == 2);
    arena_reset(&a);
    chunk_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_not_again),
        cmocka_unit_test(test_targets_are_routed),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_return_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
