/* What recipients become, and what waits for a word or a time: expansion, release, suspension, ETRN. */
#include "service/queue/queue_scripts.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* ---- a domain with aliases ---- */

#define ADDRESS(literal)                                                                                     \
    {                                                                                                        \
        .kind = ALIAS_ADDRESS, .text = STR_INIT(literal)                                                     \
    }
static const struct alias_target to_info[] = {ADDRESS("alice@example.org")};
static const struct alias_target to_loop[] = {ADDRESS("loop2@example.org")};
static const struct alias_target to_loop2[] = {ADDRESS("loop@example.org")};
static const struct alias_target to_bob[] = {ADDRESS("bob@example.org")},
                                 to_carol[] = {ADDRESS("carol@example.org")};
static const struct alias_target to_both[] = {ADDRESS("bob@example.org"), ADDRESS("carol@example.org")};
static const struct alias_target to_loops[] = {ADDRESS("loop@example.org"), ADDRESS("loop2@example.org")};
static const struct alias_target to_news[] = {ADDRESS("x@one.two"), ADDRESS("alice@example.org")};
static const struct alias_target to_staff[] = {ADDRESS("alice@example.org"), ADDRESS("bob@example.org"),
                                               ADDRESS("x@one.two")};
static const struct str argv_ticket[] = {STR_INIT("/usr/bin/ticket"), STR_INIT("%u")};
static const struct deliver run_ticket = {.kind = DELIVER_PIPE,
                                          .argv = argv_ticket,
                                          .n_argv = 2,
                                          .user_name = STR_INIT("vmail"),
                                          .uid = UINT32_MAX,
                                          .gid = UINT32_MAX};
static const struct alias_target to_ticket[] = {
    {.kind = ALIAS_PIPE, .text = STR_INIT("|/usr/bin/ticket %u"), .pipe = &run_ticket}};
/* bob and carol are users who name each other */
static const struct alias aliases_of_two[] = {
    {.name = STR_INIT("bob"), .targets = to_carol, .n_targets = 1},
    {.name = STR_INIT("both"), .targets = to_both, .n_targets = 2},
    {.name = STR_INIT("carol"), .targets = to_bob, .n_targets = 1},
    {.name = STR_INIT("loop"), .targets = to_loop, .n_targets = 1},
    {.name = STR_INIT("loop2"), .targets = to_loop2, .n_targets = 1},
    {.name = STR_INIT("loops"), .targets = to_loops, .n_targets = 2},
};
static const struct alias aliases[] = {
    {.name = STR_INIT("info"), .targets = to_info, .n_targets = 1},
    {.name = STR_INIT("loop"), .targets = to_loop, .n_targets = 1},
    {.name = STR_INIT("loop2"), .targets = to_loop2, .n_targets = 1},
    {.name = STR_INIT("news"), .targets = to_news, .n_targets = 2, .owner = STR_INIT("carol@example.org")},
    {.name = STR_INIT("staff"), .targets = to_staff, .n_targets = 3},
    {.name = STR_INIT("ticket"), .targets = to_ticket, .n_targets = 1},
};

struct seen {            /* what the peers got */
    struct test_world w; /* first */
    struct local_domain domains[2];
    struct buf log;       /* "sender>rcpt notify orcpt shown target\n" */
    const char *forwards; /* alice's .forward, and where it is not NULL bob's own */
    const char *bob_forwards;
    struct buf report; /* the last message from the null sender */
};

static void note(struct seen *s, struct str sender, struct str rcpts)
{
    struct reader r = reader_of(rcpts);
    struct rcpt one;
    while (rcpt_next(&r, &one)) {
        buf_put(&s->log, sender);
        buf_putc(&s->log, '>');
        buf_put(&s->log, one.address);
        buf_printf(&s->log, " %u %.*s %.*s %u\n", one.notify, STR_FMT(one.orcpt), STR_FMT(one.shown),
                   one.target);
    }
}

static void relay_notes(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct seen *s = (struct seen *)w;
    note(s, m->sender, m->rcpts);
    if (m->sender.n == 0) {
        buf_reset(&s->report);
        buf_put(&s->report, m->body);
    }
    script_relay_takes(w, m, given);
}

static void send_results(struct test_world *w, uint64_t token, const struct job_result *r)
{
    char mem[4096], payload[8192];
    struct buf b, p;
    buf_init_fixed(&b, mem, sizeof mem);
    buf_init_fixed(&p, payload, sizeof payload);
    assert_true(list_put_result(&b, r));
    assert_true(ipc_encode_job_done(&(struct ipc_job_done){.token = token, .results = buf_str(&b)}, &p));
    test_send(&w->local, IPC_JOB_DONE, buf_str(&p), NULL);
}

/* Alice has a .forward where the test gives her one and the job says that it is to be read. */
static void local_notes(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    struct seen *s = (struct seen *)w;
    struct reader r = reader_of(m->rcpts);
    struct rcpt one;
    assert_true(rcpt_next(&r, &one));
    if (s->forwards == NULL || m->home.n == 0) {
        note(s, m->sender, m->rcpts);
        script_local_takes(w, m, given);
        return;
    }
    char mem[2048];
    struct buf targets;
    buf_init_fixed(&targets, mem, sizeof mem);
    bool is_bob = s->bob_forwards != NULL && str_starts(one.address, STR("bob@"));
    struct str rest = str_from_c(is_bob ? s->bob_forwards : s->forwards);
    while (rest.n > 0)
        rcpt_put(&(struct rcpt){.address = str_cut(&rest, ' ')}, &targets);
    send_results(w, m->token, &(struct job_result){.kind = RESULT_EXPANDED, .targets = buf_str(&targets)});
}

static struct seen *begin(uint64_t seed)
{
    struct seen *s = mem_must_new(struct seen);
    struct test_world *w = &s->w;
    test_world_init(w, seed);
    buf_init(&s->log, 1024 * 1024);
    buf_init(&s->report, 65536);
    s->domains[0] = w->config.policy.domains[0];
    s->domains[1] = w->config.policy.domains[1];
    s->domains[1].aliases = aliases;
    s->domains[1].n_aliases = ARRAY_LEN(aliases);
    w->config.policy.domains = s->domains;
    w->on_relay_job = relay_notes;
    w->on_local_job = local_notes;
    w->on_mx_ask = script_mx;
    test_start(w);
    return s;
}

static void end(struct seen *s)
{
    test_world_fini(&s->w);
    buf_fini(&s->log);
    buf_fini(&s->report);
    mem_free(s);
}

static unsigned count(const struct seen *s, const char *line)
{
    struct str rest = buf_str(&s->log);
    unsigned n = 0;
    while (rest.n > 0)
        n += str_eq(str_cut(&rest, '\n'), str_from_c(line));
    return n;
}

static void put_with(struct test_world *w, const char *sender, const struct mail_params *p,
                     const struct rcpt *rcpts, size_t n, uint64_t *out_id)
{
    char params_mem[1024];
    struct buf list, params, b;
    buf_init(&list, IPC_FRAME_MAX);
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    buf_init(&b, IPC_FRAME_MAX);
    for (size_t i = 0; i < n; i++)
        assert_true(rcpt_put(&rcpts[i], &list));
    assert_true(mail_params_put(p, &params));
    *out_id = test_new_id(w);
    struct ipc_put m = {.token = *out_id,
                        .id = *out_id,
                        .sender = str_from_c(sender),
                        .params = buf_str(&params),
                        .rcpts = buf_str(&list),
                        .client = STR("198.51.100.7"),
                        .helo = STR("client.example"),
                        .body = STR(MAIL)};
    assert_true(ipc_encode_put(&m, &b));
    test_send(&w->smtpd, IPC_PUT, buf_str(&b), NULL);
    struct test_message *t = NULL;
    for (unsigned i = 0; i < 1000 && t == NULL; i++) {
        test_run(w, 1);
        t = test_take(&w->smtpd, IPC_PUT_DONE);
    }
    assert_non_null(t);
    struct ipc_put_done done;
    assert_true(ipc_decode_put_done(test_payload(t), &done));
    assert_int_equal(done.err, ERR_OK);
    test_message_free(t);
    buf_fini(&list);
    buf_fini(&b);
}

/* ---- expansion ---- */

static void test_one_copy_each(void **state)
{
    UNUSED(state);
    struct seen *s = begin(1);
    assert_int_equal(test_put(&s->w, "a@example.com",
                              "info@example.org bob@example.org staff@example.org x@one.two", STR(MAIL),
                              NULL),
                     ERR_OK);
    script_expect_empty(&s->w);
    assert_int_equal(s->w.n_local_jobs, 2);
    assert_int_equal(s->w.n_relay_jobs, 1);
    assert_int_equal(test_count(&s->w, EVENT_EXPANDED), 2);
    assert_int_equal(test_count(&s->w, EVENT_DELIVERED), 3);
    assert_int_equal(count(s, "a@example.com>alice@example.org 0 rfc822;info@example.org info@example.org 0"),
                     1);
    assert_int_equal(count(s, "a@example.com>bob@example.org 0   0"), 1);
    end(s);
}

static void test_wishes_of_the_sender(void **state)
{
    UNUSED(state);
    struct seen *s = begin(2);
    uint64_t id;
    const struct rcpt rcpts[] = {
        {.address = STR("info@example.org"),
         .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE,
         .orcpt = STR("rfc822;i@o")},
        {.address = STR("staff@example.org"), .notify = NOTIFY_SUCCESS},
    };
    put_with(&s->w, "a@example.com", &(struct mail_params){.ret = DSN_RET_HDRS, .envid = STR("e1")}, rcpts, 2,
             &id);
    test_run(&s->w, 1000);
    /* one target: all goes on; several: none tells of success, and nothing is left to tell of */
    assert_int_equal(count(s, "a@example.com>alice@example.org 6 rfc822;i@o info@example.org 0"), 1);
    assert_int_equal(count(s, "a@example.com>bob@example.org 1 rfc822;staff@example.org staff@example.org 0"),
                     1);
    assert_int_equal(count(s, "a@example.com>x@one.two 1 rfc822;staff@example.org  0"), 1);
    end(s);
}

static void check_list_params(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct mail_params p;
    assert_true(mail_params_get(m->params, &p));
    /* the null sender's is the report to the sender that the list was expanded */
    assert_true(p.ret == DSN_RET_NONE && p.envid.n == 0 && (m->sender.n == 0 || str_eq(p.tag, STR("t"))));
    relay_notes(w, m, given);
}

static void test_list(void **state)
{
    UNUSED(state);
    struct seen *s = begin(3);
    uint64_t id;
    const struct rcpt rcpt = {.address = STR("news@example.org"), .notify = NOTIFY_ALL & ~NOTIFY_NEVER};
    s->w.on_relay_job = check_list_params;
    put_with(&s->w, "a@example.com",
             &(struct mail_params){.ret = DSN_RET_FULL, .envid = STR("e1"), .tag = STR("t")}, &rcpt, 1, &id);
    test_run(&s->w, 1000);
    assert_int_equal(count(s, "carol@example.org>x@one.two 0   0"), 1);
    assert_int_equal(count(s, "carol@example.org>alice@example.org 0   0"), 1);
    /* to the sender a list is where his mail ends (RFC 3461 5.2.7.3) */
    assert_true(str_find(buf_str(&s->report), STR("Action: delivered\r\n")) != STR_NPOS);
    assert_true(str_find(buf_str(&s->report), STR("expanded")) == STR_NPOS);
    end(s);
}

/* Only who reads of it can know: the one target of an alias is a recipient too, who wants no report. */
static void test_alias_without_its_target(void **state)
{
    UNUSED(state);
    struct seen *s = begin(50);
    uint64_t id;
    const struct rcpt rcpts[] = {
        {.address = STR("alice@example.org")},
        {.address = STR("info@example.org"), .notify = NOTIFY_SUCCESS},
    };
    put_with(&s->w, "a@one.two", &(struct mail_params){0}, rcpts, 2, &id);
    script_expect_empty(&s->w);
    assert_int_equal(s->w.n_local_jobs, 1);
    assert_true(str_find(buf_str(&s->report), STR("Action: expanded\r\n")) != STR_NPOS);
    end(s);
}

/* One copy, unless the sender wants to hear something else of the second. */
static void test_named_twice(void **state)
{
    UNUSED(state);
    for (unsigned differs = 0; differs < 2; differs++) {
        struct seen *s = begin(52 + differs);
        uint64_t id;
        const struct rcpt rcpts[] = {
            {.address = STR("alice@example.org"), .notify = NOTIFY_NEVER},
            {.address = STR("Alice@example.org"), .notify = differs ? NOTIFY_FAILURE : NOTIFY_NEVER},
        };
        put_with(&s->w, "a@one.two", &(struct mail_params){0}, rcpts, 2, &id);
        script_expect_empty(&s->w);
        assert_int_equal(s->w.n_local_jobs, 1 + differs);
        end(s);
    }
}

/* ---- many ---- */

enum { LISTS = 200, TEXT = 40 };
struct many { /* aliases l0000..l0199 of a domain, and `all` of all of them */
    struct alias aliases[LISTS + 1];
    struct alias_target to_lists[LISTS];
    char names[LISTS][TEXT], addresses[LISTS][TEXT], owners[LISTS][TEXT];
    struct alias_target *targets; /* n_each for each of them */
    char (*texts)[TEXT];
};

static struct str text(char mem[TEXT], const char *before, size_t n, const char *behind)
{
    return str_of(mem, (size_t)snprintf(mem, TEXT, "%s%04zu%s", before, n, behind));
}

static struct many *many_new(struct seen *s, unsigned n_each, bool has_owners)
{
    struct many *m = mem_must_new(struct many);
    m->targets = mem_alloc_array((size_t)LISTS * n_each, sizeof *m->targets);
    m->texts = mem_alloc_array((size_t)LISTS * n_each, TEXT);
    assert_true(m->targets != NULL && m->texts != NULL);
    m->aliases[0] = (struct alias){.name = STR("all"), .targets = m->to_lists, .n_targets = LISTS};
    for (unsigned i = 0; i < LISTS; i++) {
        struct alias *a = &m->aliases[i + 1];
        a->name = text(m->names[i], "l", i, "");
        a->targets = &m->targets[(size_t)i * n_each];
        a->n_targets = n_each;
        if (has_owners)
            a->owner = text(m->owners[i], "owner-l", i, "@one.two");
        m->to_lists[i] = (struct alias_target){.kind = ALIAS_ADDRESS,
                                               .text = text(m->addresses[i], "l", i, "@example.org")};
        for (unsigned k = 0; k < n_each; k++) {
            size_t at = (size_t)i * n_each + k;
            m->targets[at] =
                (struct alias_target){.kind = ALIAS_ADDRESS, .text = text(m->texts[at], "x", at, "@one.two")};
        }
    }
    s->domains[1].aliases = m->aliases;
    s->domains[1].n_aliases = LISTS + 1;
    return m;
}

static void many_del(struct many *m)
{
    mem_free(m->targets);
    mem_free(m->texts);
    mem_free(m);
}

static unsigned count_lines(const struct seen *s)
{
    struct str rest = buf_str(&s->log);
    unsigned n = 0;
    while (rest.n > 0) {
        (void)str_cut(&rest, '\n');
        n++;
    }
    return n;
}

/* Each list has an owner of its own, so each gets a message of its own. */
static void test_many_lists(void **state)
{
    UNUSED(state);
    struct seen *s = begin(54);
    struct many *m = many_new(s, 1, true);
    assert_int_equal(test_put(&s->w, "a@example.com", "all@example.org", STR(MAIL), NULL), ERR_OK);
    test_run(&s->w, MINUTE);
    assert_int_equal(count_lines(s), LISTS);
    assert_int_equal(count(s, "owner-l0199@one.two>x0199@one.two 0   0"), 1);
    script_expect_empty(&s->w);
    end(s);
    many_del(m);
}

/* What a unit of the store can't take at once goes in several. */
static void test_many_octets(void **state)
{
    UNUSED(state);
    static char orcpt[DSN_ORCPT_MAX];
    struct seen *s = begin(55);
    struct many *m = many_new(s, 62, false);
    enum { SINGLE = 32 };
    uint64_t id;
    memset(orcpt, 'o', sizeof orcpt);
    memcpy(orcpt, "rfc822;", 7);
    struct rcpt rcpts[SINGLE + 1];
    m->aliases[0].targets += LISTS - 158; /* 9,796; those that are named themselves are not among them */
    m->aliases[0].n_targets = 158;
    for (unsigned i = 0; i < ARRAY_LEN(rcpts); i++)
        rcpts[i] = (struct rcpt){.address = i < SINGLE ? m->to_lists[i].text : STR("all@example.org"),
                                 .orcpt = str_of(orcpt, sizeof orcpt)};
    put_with(&s->w, "a@example.com", &(struct mail_params){0}, rcpts, ARRAY_LEN(rcpts), &id);
    test_run(&s->w, MINUTE);
    script_expect_empty(&s->w);
    assert_int_equal(test_count(&s->w, EVENT_DEFERRED), 0);
    assert_int_equal(test_count(&s->w, EVENT_DELIVERED), (SINGLE + 158) * 62);
    end(s);
    many_del(m);
}

/* An alias that can't be followed waits for an operator, also where nothing else gave the entry a place. */
static void test_too_many(void **state)
{
    UNUSED(state);
    struct seen *s = begin(60);
    struct test_world *w = &s->w;
    struct many *m = many_new(s, 51, false); /* 10,200 */
    struct buf rows;
    buf_init(&rows, 65536);
    assert_int_equal(test_put(w, "a@one.two", "all@example.org", STR(MAIL), NULL), ERR_OK);
    test_run(w, MINUTE);
    assert_int_equal(test_count(w, EVENT_DEFERRED), 1);
    assert_int_equal(test_ask(w, CTL_RETRY, 0, "", 0, &rows), ERR_OK);
    test_run(w, MINUTE);
    assert_int_equal(test_count(w, EVENT_DEFERRED), 2);
    m->aliases[0].n_targets = 2;
    test_run(w, DAY);
    assert_int_equal(test_count(w, EVENT_DELIVERED), 102);
    script_expect_empty(w);
    buf_fini(&rows);
    end(s);
    many_del(m);
}

/* Finding out that nothing is to be expanded leaves nothing behind. */
static void test_memory_of_plain_mail(void **state)
{
    UNUSED(state);
    struct seen *s = begin(56);
    static struct rcpt rcpts[500];
    static char texts[500][TEXT];
    uint64_t id;
    s->w.on_relay_job = NULL;
    for (unsigned i = 0; i < ARRAY_LEN(rcpts); i++)
        rcpts[i] = (struct rcpt){.address = text(texts[i], "x", i, "@one.two")};
    put_with(&s->w, "a@example.com", &(struct mail_params){0}, rcpts, ARRAY_LEN(rcpts), &id);
    test_run(&s->w, 1000);
    assert_int_equal(s->w.q->n_works, 1);
    assert_in_range(s->w.q->pool.n_lent * QUEUE_CHUNK, 1, 500 * 1000);
    end(s);
}

static void test_circle_fails(void **state)
{
    UNUSED(state);
    struct seen *s = begin(4);
    assert_int_equal(test_put(&s->w, "a@one.two", "loop@example.org bob@example.org", STR(MAIL), NULL),
                     ERR_OK);
    script_expect_empty(&s->w);
    assert_int_equal(test_count(&s->w, EVENT_FAILED), 1);
    assert_int_equal(test_count(&s->w, EVENT_BOUNCED), 1);
    assert_int_equal(count(s, "a@one.two>bob@example.org 0   0"), 1);
    assert_int_equal(count(s, ">a@one.two 1   0") + count(s, ">a@one.two 0   0"), 1); /* the report */
    end(s);
}

/* Two that name each other: alone, together, and as the targets of a third; each gets one copy in his own
 * mailbox, and a circle without one is told. */
static void test_each_other(void **state)
{
    UNUSED(state);
    static const struct {
        const char *rcpts;
        unsigned bob, carol, failed;
    } rows[] = {{"bob@example.org", 1, 0, 0},
                {"carol@example.org", 0, 1, 0},
                {"both@example.org", 1, 1, 0},
                {"bob@example.org carol@example.org", 1, 1, 0},
                {"both@example.org carol@example.org bob@example.org", 1, 1, 0},
                {"loops@example.org", 0, 0, 1},
                {"loops@example.org both@example.org", 1, 1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *s = begin(40 + i);
        s->domains[1].aliases = aliases_of_two;
        s->domains[1].n_aliases = ARRAY_LEN(aliases_of_two);
        assert_int_equal(test_put(&s->w, "a@one.two", rows[i].rcpts, STR(MAIL), NULL), ERR_OK);
        test_run(&s->w, 1000);
        script_expect_empty(&s->w);
        struct str rest = buf_str(&s->log);
        unsigned bob = 0, carol = 0;
        while (rest.n > 0) {
            struct str line = str_cut(&rest, '\n');
            bob += str_starts(line, STR("a@one.two>bob@example.org "));
            carol += str_starts(line, STR("a@one.two>carol@example.org "));
        }
        if (bob != rows[i].bob || carol != rows[i].carol)
            fail_msg("%s: %.*s", rows[i].rcpts, STR_FMT(buf_str(&s->log)));
        assert_int_equal(test_count(&s->w, EVENT_FAILED), rows[i].failed);
        end(s);
    }
}

static void test_program(void **state)
{
    UNUSED(state);
    struct seen *s = begin(5);
    assert_int_equal(test_put(&s->w, "a@example.com", "ticket@example.org", STR(MAIL), NULL), ERR_OK);
    script_expect_empty(&s->w);
    assert_int_equal(s->w.n_local_jobs, 1);
    assert_int_equal(
        count(s, "a@example.com>ticket@example.org 0 rfc822;ticket@example.org ticket@example.org 1"), 1);
    end(s);
}

/* Whenever it dies: each final recipient gets one copy. */
static void test_expansion_restarts(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct seen *s = begin(100 + seed);
        s->w.on_local_job = NULL;
        s->w.on_relay_job = NULL;
        assert_int_equal(
            test_put(&s->w, "a@example.com", "info@example.org staff@example.org", STR(MAIL), NULL), ERR_OK);
        test_run(&s->w, seed / 2 % 12);
        if (seed % 2 == 0)
            test_power_cut(&s->w);
        else
            test_kill(&s->w);
        s->w.on_local_job = local_notes;
        s->w.on_relay_job = relay_notes;
        test_start(&s->w);
        test_run(&s->w, 10 * 1000);
        script_expect_empty(&s->w);
        assert_int_equal(s->w.n_local_jobs, 2);
        assert_int_equal(s->w.n_relay_jobs, 1);
        end(s);
    }
}

static const struct system_user alices[] = {
    {.name = STR_INIT("alice"), .home = STR_INIT("/home/alice"), .uid = UINT32_MAX, .gid = UINT32_MAX},
    {.name = STR_INIT("bob"), .home = STR_INIT("/home/bob"), .uid = UINT32_MAX, .gid = UINT32_MAX},
};

static struct seen *begin_forward(uint64_t seed, const char *forwards)
{
    struct seen *s = begin(seed);
    s->domains[1].users = NULL;
    s->domains[1].n_users = 0;
    s->domains[1].system_users = alices;
    s->domains[1].n_system_users = 2;
    s->domains[1].deliver.forward = true;
    s->domains[1].deliver.maildir = STR("%h/Maildir");
    s->forwards = forwards;
    return s;
}

static void test_forward(void **state)
{
    UNUSED(state);
    struct seen *s = begin_forward(6, "alice@example.org x@one.two");
    assert_int_equal(test_put(&s->w, "a@example.com", "alice@example.org x@one.two", STR(MAIL), NULL),
                     ERR_OK);
    script_expect_empty(&s->w);
    /* her own copy, not forwarded again. x was split off before her file was read: two of his. */
    assert_int_equal(
        count(s, "a@example.com>alice@example.org 0 rfc822;alice@example.org alice@example.org 0"), 1);
    assert_int_equal(s->w.n_relay_jobs, 2);
    assert_int_equal(test_count(&s->w, EVENT_EXPANDED), 1);
    end(s);
}

/* Behind a catch-all and a postmaster the user has two addresses in one message: his file may name either, or
 * both, and he keeps one copy. */
static void test_forward_of_another_name(void **state)
{
    UNUSED(state);
    static const struct {
        const char *rcpt, *forwards;
    } rows[] = {
        {"nobody@example.org", "alice@example.org x@one.two"},
        {"nobody@example.org", "nobody@example.org x@one.two"},
        {"nobody@example.org", "nobody@example.org alice@example.org x@one.two"},
        {"nobody@example.org", "x@one.two alice@example.org nobody@example.org"},
        {"postmaster", "alice@example.org x@one.two"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *s = begin_forward(70 + i, rows[i].forwards);
        s->domains[1].catchall = STR("alice");
        assert_int_equal(test_put(&s->w, "a@example.com", rows[i].rcpt, STR(MAIL), NULL), ERR_OK);
        script_expect_empty(&s->w);
        assert_int_equal(s->w.n_local_jobs, 2); /* the first reads her file, the second is her copy */
        assert_int_equal(s->w.n_relay_jobs, 1);
        end(s);
    }
}

/* Neither keeps a copy: nobody gets the message, and the sender must be told. */
static void test_forward_to_each_other(void **state)
{
    UNUSED(state);
    struct seen *s = begin_forward(58, "bob@example.org");
    s->bob_forwards = "alice@example.org";
    assert_int_equal(test_put(&s->w, "a@one.two", "alice@example.org bob@example.org", STR(MAIL), NULL),
                     ERR_OK);
    test_run(&s->w, MINUTE);
    script_expect_empty(&s->w);
    assert_true(test_count(&s->w, EVENT_BOUNCED) >= 1);
    assert_true(str_find(buf_str(&s->report), STR("Status: 5.4.6\r\n")) != STR_NPOS);
    end(s);
}

/* The work waits for the local role while the user becomes an alias that keeps his mailbox. */
static void test_becomes_an_alias(void **state)
{
    UNUSED(state);
    static const struct alias_target to_self[] = {{.kind = ALIAS_SELF, .text = STR_INIT("alice@example.org")},
                                                  ADDRESS("x@one.two")};
    static const struct alias now[] = {{.name = STR_INIT("alice"), .targets = to_self, .n_targets = 2}};
    struct seen *s = begin(59);
    struct test_world *w = &s->w;
    struct local_domain domains[2];
    w->local.is_full = true;
    assert_int_equal(test_put(w, "a@one.two", "alice@example.org bob@example.org", STR(MAIL), NULL), ERR_OK);
    test_run(w, 1000);
    assert_int_equal(w->n_local_jobs, 0);
    domains[0] = w->config2.policy.domains[0];
    domains[1] = w->config2.policy.domains[1];
    domains[1].aliases = now;
    domains[1].n_aliases = 1;
    w->config2.policy.domains = domains;
    const struct config *old = w->env.config;
    w->env.config = &w->config2;
    queue_role.reload(w->q, old);
    w->local.is_full = false;
    w->local.user->on_room(w->local.arg, &w->local);
    test_run(w, MINUTE);
    script_expect_empty(w);
    assert_int_equal(w->n_relay_jobs, 1);
    assert_int_equal(w->n_local_jobs, 2);
    end(s);
}

static void test_forward_circle_ends(void **state)
{
    UNUSED(state);
    struct seen *s = begin_forward(7, "alice@example.org bob@example.org"); /* both have it */
    assert_int_equal(test_put(&s->w, "", "alice@example.org", STR(MAIL), NULL), ERR_OK);
    script_expect_empty(&s->w);
    /* each keeps one; the third reading is that of the circle's end */
    assert_int_equal(count(s, ">alice@example.org 0 rfc822;alice@example.org alice@example.org 0"), 1);
    assert_int_equal(count(s, ">bob@example.org 0 rfc822;alice@example.org alice@example.org 0"), 1);
    assert_int_equal(s->w.n_local_jobs, 3 + 2);
    assert_int_equal(test_count(&s->w, EVENT_FAILED), 1);
    end(s);
}

static void test_forward_restarts(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct seen *s = begin_forward(200 + seed, "x@one.two");
        s->w.on_relay_job = NULL;
        assert_int_equal(test_put(&s->w, "a@example.com", "alice@example.org", STR(MAIL), NULL), ERR_OK);
        test_run(&s->w, seed * 3); /* the unit is lazy: up to 50 ms */
        test_power_cut(&s->w);
        s->w.on_relay_job = relay_notes;
        test_start(&s->w);
        test_run(&s->w, 10 * 1000);
        script_expect_empty(&s->w);
        assert_int_equal(s->w.n_relay_jobs, 1);
        end(s);
    }
}

/* ---- what fits into a message to the relay ---- */

static void put_long(struct seen *s, unsigned n_local, struct str body)
{
    static char orcpt[DSN_ORCPT_MAX];
    char address[SMTP_PATH_MAX];
    struct buf lists[2], payload;
    memset(orcpt, 'o', sizeof orcpt);
    memcpy(orcpt, "rfc822;", 7);
    memset(address, 'x', sizeof address);
    static const char domain[] = "@a-domain-with-a-name-that-takes-all-the-octets-of-a-label.two";
    memcpy(address + n_local, domain, sizeof domain - 1);
    buf_init(&lists[0], IPC_FRAME_MAX);
    buf_init(&lists[1], IPC_FRAME_MAX);
    buf_init(&payload, IPC_FRAME_MAX);
    for (unsigned i = 0; i < 100; i++) {
        address[0] = (char)('a' + i % 10);
        address[1] = (char)('a' + i / 10);
        struct rcpt one = {.address = str_of(address, n_local + sizeof domain - 1),
                           .notify = NOTIFY_NEVER,
                           .orcpt = str_of(orcpt, sizeof orcpt)};
        assert_true(rcpt_put(&one, &lists[i < 10]));
    }
    struct ipc_put_rcpts more = {.token = 9, .rcpts = buf_str(&lists[0])};
    assert_true(ipc_encode_put_rcpts(&more, &payload));
    test_send(&s->w.smtpd, IPC_PUT_RCPTS, buf_str(&payload), NULL);
    buf_reset(&payload);
    struct ipc_put m = {.token = 9,
                        .id = test_new_id(&s->w),
                        .sender = STR("a@example.com"),
                        .rcpts = buf_str(&lists[1]),
                        .body = body};
    assert_true(ipc_encode_put(&m, &payload));
    test_send(&s->w.smtpd, IPC_PUT, buf_str(&payload), NULL);
    buf_fini(&lists[0]);
    buf_fini(&lists[1]);
    buf_fini(&payload);
}

/* The recipients of an attempt with long addresses and ORCPT, and a body that alone would go inline. */
static void test_long_parameters(void **state)
{
    UNUSED(state);
    for (unsigned i = 0; i < 3; i++) {
        struct seen *s = begin(61);
        struct str body = script_body(i == 0 ? 100 : 60000);
        put_long(s, i == 2 ? 250 : 60, body);
        test_run(&s->w, MINUTE);
        assert_int_equal(test_count(&s->w, EVENT_TROUBLE), 0);
        assert_int_equal(test_count(&s->w, EVENT_DELIVERED), 100);
        script_expect_empty(&s->w);
        mem_free((void *)(uintptr_t)body.p);
        end(s);
    }
}

/* ---- a later release ---- */

static void test_release_later(void **state)
{
    UNUSED(state);
    for (unsigned restarts = 0; restarts < 2; restarts++) {
        struct seen *s = begin(10 + restarts);
        struct buf rows;
        uint64_t id;
        buf_init(&rows, 65536);
        const struct rcpt rcpt = {.address = STR("info@example.org")};
        int64_t until_ms = s->w.wall_ms + 2 * HOUR;
        put_with(&s->w, "a@example.com", &(struct mail_params){.hold_until_ms = until_ms}, &rcpt, 1, &id);
        test_run(&s->w, HOUR);
        if (restarts == 1) {
            test_power_cut(&s->w);
            test_start(&s->w);
        }
        assert_int_equal(test_ask(&s->w, CTL_SHOW, id, "", 0, &rows), ERR_OK);
        assert_true(str_find(buf_str(&rows), STR("\"released_at\":\"")) != STR_NPOS);
        test_run(&s->w, HOUR - 5 * MINUTE);
        assert_int_equal(s->w.n_local_jobs, 0);
        test_run(&s->w, 6 * MINUTE);
        assert_int_equal(s->w.n_local_jobs, 1);
        script_expect_empty(&s->w);
        buf_fini(&rows);
        end(s);
    }
}

/* ---- suspension ---- */

static void test_suspend(void **state)
{
    UNUSED(state);
    for (unsigned power = 0; power < 2; power++) {
        struct seen *s = begin(20 + power);
        struct test_world *w = &s->w;
        struct buf rows;
        buf_init(&rows, 65536);
        assert_int_equal(test_ask(w, CTL_SUSPEND, 0, "domain=one.two", 0, &rows), ERR_OK);
        assert_true(str_eq(buf_str(&rows), STR("{\"changed\":1,\"rules\":1}\n")));
        assert_int_equal(test_ask(w, CTL_SUSPEND, 0, "domain=one.two", 0, &rows), ERR_OK);
        assert_true(str_eq(buf_str(&rows), STR("{\"changed\":0,\"rules\":1}\n")));
        assert_int_equal(
            test_put(w, "a@example.com", "x@one.two alice@example.org y@else.two", STR(MAIL), NULL), ERR_OK);
        test_run(w, 3 * HOUR);
        assert_int_equal(w->n_relay_jobs, 1);
        assert_int_equal(w->n_local_jobs, 1);
        if (power == 1)
            test_power_cut(w);
        else
            test_kill(w);
        test_start(w);
        test_run(w, HOUR);
        assert_int_equal(w->n_relay_jobs, 1);
        assert_int_equal(test_put(w, "a@example.com", "z@one.two", STR(MAIL), NULL), ERR_OK);
        assert_int_equal(test_ask(w, CTL_SUSPENDED, 0, "", 0, &rows), ERR_OK);
        assert_true(str_eq(buf_str(&rows), STR("{\"filter\":\"domain=one.two\"}\n")));
        assert_int_equal(test_ask(w, CTL_LIST, 0, "", 0, &rows), ERR_OK);
        assert_true(str_find(buf_str(&rows), STR("\"suspended\":1")) != STR_NPOS);
        assert_int_equal(test_ask(w, CTL_RESUME, 0, "domain=other", 0, &rows), ERR_OK);
        assert_true(str_eq(buf_str(&rows), STR("{\"changed\":0,\"rules\":1}\n")));
        assert_int_equal(test_ask(w, CTL_RESUME, 0, "", 0, &rows), ERR_OK);
        assert_true(str_eq(buf_str(&rows), STR("{\"changed\":1,\"rules\":0}\n")));
        test_run(w, 1000);
        script_expect_empty(w);
        assert_int_equal(w->n_relay_jobs, 3);
        assert_int_equal(test_count(w, EVENT_SUSPENDED), 1);
        assert_int_equal(test_count(w, EVENT_RESUMED), 1);
        test_kill(w);
        test_start(w);
        assert_int_equal(suspend_count(w->q), 0);
        buf_fini(&rows);
        end(s);
    }
}

/* A rule that was answered is there after any crash; one that was not is there or not. */
static void test_suspend_crash(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct seen *s = begin(300 + seed);
        struct test_world *w = &s->w;
        struct buf rows, payload;
        char mem[256];
        buf_init(&rows, 65536);
        buf_init_fixed(&payload, mem, sizeof mem);
        assert_int_equal(test_ask(w, CTL_SUSPEND, 0, "sender=a@example.com", 0, &rows), ERR_OK);
        struct ipc_ctl_ask m = {.token = 5, .verb = CTL_SUSPEND, .filter = STR("kind=bounce")};
        assert_true(ipc_encode_ctl_ask(&m, &payload));
        test_send(&w->admin, IPC_CTL_ASK, buf_str(&payload), NULL);
        test_run(w, seed % 10);
        test_power_cut(w);
        test_start(w);
        assert_in_range(suspend_count(w->q), 1, 2);
        assert_true(str_eq(suspend_rule(w->q, 0), STR("sender=a@example.com")));
        buf_fini(&rows);
        end(s);
    }
}

static void test_suspend_refuses(void **state)
{
    UNUSED(state);
    static const char *const bad[] = {"", "age>2h", "id=1", "nonsense", "domain="};
    struct seen *s = begin(22);
    struct buf rows;
    buf_init(&rows, 65536);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(test_ask(&s->w, CTL_SUSPEND, 0, bad[i], 0, &rows), ERR_INVALID);
        assert_true(str_starts(buf_str(&rows), STR("{\"error\":")));
    }
    assert_int_equal(suspend_count(s->w.q), 0);
    buf_fini(&rows);
    end(s);
}

static void test_resume_is_not_of_an_entry(void **state)
{
    UNUSED(state);
    struct seen *s = begin(23);
    struct buf rows;
    buf_init(&rows, 65536);
    assert_int_equal(test_ask(&s->w, CTL_SUSPEND, 0, "kind=bounce", 0, &rows), ERR_OK);
    assert_int_equal(test_ask(&s->w, CTL_RESUME, 5, "kind=bounce", 0, &rows), ERR_INVALID);
    assert_int_equal(suspend_count(s->w.q), 1);
    buf_fini(&rows);
    end(s);
}

/* Also not what nobody has looked at since the rule came, behind a blocked site. */
static void test_suspended_does_not_expire(void **state)
{
    UNUSED(state);
    struct seen *s = begin(24);
    struct test_world *w = &s->w;
    struct buf rows;
    buf_init(&rows, 65536);
    w->config.retry_max_s = 1800; /* so that their turns are spread over the last hour too */
    w->on_relay_job = script_relay_unreachable;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(test_put(w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(w, (uint64_t)w->config.expire_s * 1000 - 2 * MINUTE);
    assert_int_equal(test_count(w, EVENT_EXPIRED), 0);
    assert_int_equal(test_ask(w, CTL_SUSPEND, 0, "domain=one.two", 0, &rows), ERR_OK);
    test_run(w, HOUR);
    assert_int_equal(test_count(w, EVENT_EXPIRED), 0);
    assert_int_equal(w->q->schedule.n_entries, 100);
    assert_int_equal(test_ask(w, CTL_RESUME, 0, "", 0, &rows), ERR_OK);
    w->on_relay_job = relay_notes;
    test_run(w, DAY);
    script_expect_empty(w);
    buf_fini(&rows);
    end(s);
}

/* ---- ETRN ---- */

static void ask_etrn(struct test_world *w, const char *domain)
{
    char mem[512];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_etrn_ask(&(struct ipc_etrn_ask){.token = 7, .domain = str_from_c(domain)}, &b));
    test_send(&w->smtpd, IPC_ETRN_ASK, buf_str(&b), NULL);
}

static struct ipc_etrn_answer hear_etrn(struct test_world *w)
{
    struct test_message *t = NULL;
    for (unsigned i = 0; i < 1000 && t == NULL; i++) {
        test_run(w, 1);
        t = test_take(&w->smtpd, IPC_ETRN_ANSWER);
    }
    struct ipc_etrn_answer a;
    assert_non_null(t);
    assert_true(ipc_decode_etrn_answer(test_payload(t), &a) && a.token == 7);
    test_message_free(t);
    return a;
}

static uint32_t etrn(struct test_world *w, const char *domain)
{
    ask_etrn(w, domain);
    struct ipc_etrn_answer a = hear_etrn(w);
    assert_int_equal(a.is_run, 1);
    return a.n;
}

/* Asked again before the first are answered: only so many are run at a time, and who is not is told. */
static void test_etrn_limit(void **state)
{
    UNUSED(state);
    struct seen *s = begin(31);
    unsigned n_run = 0;
    s->w.on_relay_job = script_relay_defers; /* each ETRN reads what waits */
    assert_int_equal(test_put(&s->w, "a@example.com", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&s->w, 1000);
    cache_clear(s->w.q);
    for (unsigned i = 0; i < QUEUE_ETRN_MAX + 2; i++)
        ask_etrn(&s->w, "one.two");
    for (unsigned i = 0; i < QUEUE_ETRN_MAX + 2; i++)
        n_run += hear_etrn(&s->w).is_run;
    assert_int_equal(n_run, QUEUE_ETRN_MAX);
    end(s);
}

static void test_etrn(void **state)
{
    UNUSED(state);
    struct seen *s = begin(30);
    struct test_world *w = &s->w;
    w->on_relay_job = script_relay_defers;
    assert_int_equal(test_put(w, "a@example.com", "x@one.two", STR(MAIL), NULL), ERR_OK);
    assert_int_equal(test_put(w, "a@example.com", "x@sub.one.two", STR(MAIL), NULL), ERR_OK);
    assert_int_equal(test_put(w, "a@example.com", "x@none.two", STR(MAIL), NULL), ERR_OK);
    test_run(w, 1000);
    w->on_relay_job = relay_notes;
    assert_int_equal(etrn(w, "other.two"), 0);
    assert_int_equal(etrn(w, "One.Two"), 1);
    test_run(w, 1000);
    assert_int_equal(count(s, "a@example.com>x@one.two 0   0"), 1);
    assert_int_equal(w->q->schedule.n_entries, 2);
    assert_int_equal(etrn(w, "@one.two"), 1);
    test_run(w, 1000);
    assert_int_equal(count(s, "a@example.com>x@sub.one.two 0   0"), 1);
    assert_int_equal(w->q->schedule.n_entries, 1);
    end(s);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_copy_each),
        cmocka_unit_test(test_wishes_of_the_sender),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_alias_without_its_target),
        cmocka_unit_test(test_named_twice),
        cmocka_unit_test(test_many_lists),
        cmocka_unit_test(test_many_octets),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_memory_of_plain_mail),
        cmocka_unit_test(test_circle_fails),
        cmocka_unit_test(test_each_other),
        cmocka_unit_test(test_program),
        cmocka_unit_test(test_expansion_restarts),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_forward_to_each_other),
        cmocka_unit_test(test_forward_of_another_name),
        cmocka_unit_test(test_becomes_an_alias),
        cmocka_unit_test(test_forward_circle_ends),
        cmocka_unit_test(test_forward_restarts),
        cmocka_unit_test(test_long_parameters),
        cmocka_unit_test(test_release_later),
        cmocka_unit_test(test_suspend),
        cmocka_unit_test(test_suspend_crash),
        cmocka_unit_test(test_suspend_refuses),
        cmocka_unit_test(test_resume_is_not_of_an_entry),
        cmocka_unit_test(test_suspended_does_not_expire),
        cmocka_unit_test(test_etrn),
        cmocka_unit_test(test_etrn_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
