/* List mail whose return path names the member (VERP): how it leaves, and what becomes of what comes back. */
#include "service/queue/queue_scripts.h"

#include "base/mem.h"
#include "proto/smtp_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define ADDRESS(literal)                                                                                     \
    {                                                                                                        \
        .kind = ALIAS_ADDRESS, .text = STR_INIT(literal)                                                     \
    }
#define LONG_NAME "a-name-that-leaves-no-room-for-the-rest-of-it"
static const struct alias_target to_owner[] = {ADDRESS("bob@example.org")};
static const struct alias_target to_news[] = {ADDRESS("x@one.two"), ADDRESS("alice@example.org"),
                                              ADDRESS(LONG_NAME "@one.two"), ADDRESS("y@one.two"),
                                              ADDRESS("\"q q\"@one.two")};
static const struct alias_target to_other[] = {ADDRESS("x@one.two")};
static const struct deliver run_archive = {.kind = DELIVER_PIPE,
                                           .argv = (const struct str[]){STR_INIT("/bin/archive")},
                                           .n_argv = 1,
                                           .user_name = STR_INIT("vmail"),
                                           .uid = UINT32_MAX,
                                           .gid = UINT32_MAX};
static const struct alias_target to_piped[] = {
    {.kind = ALIAS_PIPE, .text = STR_INIT("|/bin/archive"), .pipe = &run_archive}, ADDRESS("x@one.two")};
static const struct alias aliases[] = {
    {.name = STR_INIT("news"),
     .targets = to_news,
     .n_targets = ARRAY_LEN(to_news),
     .owner = STR_INIT("owner-news@example.org")},
    {.name = STR_INIT("other"),
     .targets = to_other,
     .n_targets = ARRAY_LEN(to_other),
     .owner = STR_INIT("owner-other@example.org")},
    {.name = STR_INIT("owner-news"), .targets = to_owner, .n_targets = 1},
    {.name = STR_INIT("owner-other"), .targets = to_owner, .n_targets = 1},
    {.name = STR_INIT("piped"),
     .targets = to_piped,
     .n_targets = ARRAY_LEN(to_piped),
     .owner = STR_INIT("owner-other@example.org")},
};

struct seen {            /* what the peers got */
    struct test_world w; /* first */
    struct local_domain domains[2];
    struct buf log;   /* "sender>rcpt,rcpt\n" */
    char sender[128]; /* of the last copy for x@one.two */
    const char *const *x_says;
};

static void note(struct seen *s, struct str sender, struct str rcpts)
{
    struct reader r = reader_of(rcpts);
    struct rcpt one;
    bool is_first = true;
    buf_put(&s->log, sender);
    while (rcpt_next(&r, &one)) {
        buf_putc(&s->log, is_first ? '>' : ',');
        is_first = false;
        buf_put(&s->log, one.address);
        if (str_eq(one.address, STR("x@one.two")))
            (void)snprintf(s->sender, sizeof s->sender, "%.*s", STR_FMT(sender));
    }
    buf_putc(&s->log, '\n');
}

static void relay_notes(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct seen *s = (struct seen *)w;
    note(s, m->sender, m->rcpts);
    if (s->x_says != NULL && str_find(m->rcpts, STR("x@one.two")) != STR_NPOS)
        test_job_done(&w->relay, m->token, script_count(m->rcpts), SMTP_AT_RCPT, s->x_says);
    else
        script_relay_takes(w, m, given);
}

static void local_notes(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    note((struct seen *)w, m->sender, m->rcpts);
    script_local_takes(w, m, given);
}

static void set_lists(struct seen *s, struct config *c, const char *verp)
{
    s->domains[0] = c->policy.domains[0];
    s->domains[1] = c->policy.domains[1];
    s->domains[1].aliases = aliases;
    s->domains[1].n_aliases = ARRAY_LEN(aliases);
    c->policy.domains = s->domains;
    c->policy.verp = str_from_c(verp);
}

static struct seen *begin_with(uint64_t seed, const char *verp)
{
    struct seen *s = mem_must_new(struct seen);
    test_world_init(&s->w, seed);
    buf_init(&s->log, 4 * 1024 * 1024);
    set_lists(s, &s->w.config2, "bounce");
    set_lists(s, &s->w.config, verp);
    s->w.on_relay_job = relay_notes;
    s->w.on_local_job = local_notes;
    s->w.on_mx_ask = script_mx;
    test_start(&s->w);
    return s;
}

static struct seen *begin(uint64_t seed)
{
    return begin_with(seed, "bounce");
}

static void end(struct seen *s)
{
    test_world_fini(&s->w);
    buf_fini(&s->log);
    mem_free(s);
}

static unsigned count_lines(const struct seen *s, const char *begins, const char *ends)
{
    struct str rest = buf_str(&s->log);
    unsigned n = 0;
    while (rest.n > 0) {
        struct str line = str_cut(&rest, '\n');
        n += str_starts(line, str_from_c(begins)) && str_ends(line, str_from_c(ends));
    }
    return n;
}

static void put(struct seen *s, const char *sender, const char *rcpts)
{
    assert_int_equal(test_put(&s->w, sender, rcpts, STR(MAIL), NULL), ERR_OK);
    test_run(&s->w, MINUTE);
}

static bool restart(struct seen *s, bool is_power)
{
    if (is_power)
        test_power_cut(&s->w);
    else
        test_kill(&s->w);
    test_start(&s->w);
    return true;
}

/* ---- out ---- */

static void test_members(void **state)
{
    UNUSED(state);
    struct seen *s = begin(1);
    put(s, "a@example.com", "news@example.org");
    script_expect_empty(&s->w);
    assert_int_equal(count_lines(s, "bounce+x=one.two-", "@example.org>x@one.two"), 1);
    assert_int_equal(count_lines(s, "bounce+y=one.two-", "@example.org>y@one.two"), 1);
    assert_int_equal(count_lines(s, "bounce+alice=example.org-", "@example.org>alice@example.org"), 1);
    /* those that don't fit share a copy from the owner */
    assert_int_equal(count_lines(s, "owner-news@example.org>", LONG_NAME "@one.two,\"q q\"@one.two"), 1);
    assert_int_equal(count_lines(s, "", ""), 4);
    assert_int_equal(test_count(&s->w, EVENT_DELIVERED), 5);
    end(s);
}

/* Reports that come to a list, and programs: the owner's address as it is. */
static void test_not_for(void **state)
{
    UNUSED(state);
    struct seen *s = begin(2);
    put(s, "", "other@example.org");
    assert_int_equal(count_lines(s, "owner-other@example.org>", "x@one.two"), 1);
    buf_reset(&s->log);
    put(s, "a@example.com", "piped@example.org");
    assert_int_equal(count_lines(s, "owner-other@example.org>", "piped@example.org"), 1);
    assert_int_equal(count_lines(s, "bounce+x=one.two-", "@example.org>x@one.two"), 1);
    assert_int_equal(count_lines(s, "", ""), 2);
    buf_reset(&s->log);
    put(s, "a@example.com", "owner-news@example.org"); /* an alias, no list */
    assert_int_equal(count_lines(s, "a@example.com>", "bob@example.org"), 1);
    script_expect_empty(&s->w);
    end(s);
}

/* Whenever it dies: each member gets one copy, with the return path he has every time. */
static void test_expansion_restarts(void **state)
{
    UNUSED(state);
    char sender[128] = "";
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct seen *s = begin(100 + seed);
        put(s, "a@example.com", "other@example.org");
        (void)snprintf(sender, sizeof sender, "%s", s->sender);
        buf_reset(&s->log);
        s->w.on_local_job = NULL;
        s->w.on_relay_job = NULL;
        assert_int_equal(
            test_put(&s->w, "a@example.com", "other@example.org news@example.org", STR(MAIL), NULL), ERR_OK);
        test_run(&s->w, seed / 2 % 12);
        restart(s, seed % 2 == 0);
        s->w.on_local_job = local_notes;
        s->w.on_relay_job = relay_notes;
        test_run(&s->w, 10 * 1000); /* what was out when it died comes now too */
        worker_lost(&s->w.q->relays[0]);
        test_run(&s->w, MINUTE);
        script_expect_empty(&s->w);
        assert_int_equal(count_lines(s, sender, ">x@one.two"), 1);
        assert_int_equal(count_lines(s, "", ""), 4); /* x is in both lists */
        end(s);
    }
}

enum { MANY = 9990, TEXT = 40 };

/* As many members as a list may have, in one unit of the store. */
static void test_many_members(void **state)
{
    UNUSED(state);
    struct seen *s = begin(3);
    struct alias_target *targets = mem_alloc_array(MANY, sizeof *targets);
    char(*texts)[TEXT] = mem_alloc_array(MANY, TEXT);
    struct alias list[] = {aliases[0], aliases[2]};
    assert_true(targets != NULL && texts != NULL);
    for (unsigned i = 0; i < MANY; i++) {
        int n = snprintf(texts[i], TEXT, "some.member%04u@d%u.two", i, i % 100);
        targets[i] = (struct alias_target){.kind = ALIAS_ADDRESS, .text = str_of(texts[i], (size_t)n)};
    }
    list[0].targets = targets;
    list[0].n_targets = MANY;
    s->domains[1].aliases = list;
    s->domains[1].n_aliases = 2;
    put(s, "a@example.com", "news@example.org");
    test_run(&s->w, HOUR);
    assert_int_equal(test_count(&s->w, EVENT_DEFERRED), 0);
    assert_int_equal(test_count(&s->w, EVENT_DELIVERED), MANY);
    assert_int_equal(
        count_lines(s, "bounce+some.member9989=d89.two-", "@example.org>some.member9989@d89.two"), 1);
    assert_int_equal(count_lines(s, "bounce+", ""), MANY);
    script_expect_empty(&s->w);
    end(s);
    mem_free(targets);
    mem_free(texts);
}

/* ---- the key ---- */

static struct ipc_callout_answer ask(struct seen *s, const char *rcpt)
{
    char mem[512];
    struct buf b;
    struct ipc_callout_answer a;
    struct test_message *t = NULL;
    buf_init_fixed(&b, mem, sizeof mem);
    assert_true(ipc_encode_callout_ask(&(struct ipc_callout_ask){.token = 9, .rcpt = str_from_c(rcpt)}, &b));
    test_send(&s->w.smtpd, IPC_CALLOUT_ASK, buf_str(&b), NULL);
    for (unsigned i = 0; i < 100 && t == NULL; i++) {
        test_run(&s->w, 10);
        t = test_take(&s->w.smtpd, IPC_CALLOUT_ANSWER);
    }
    assert_non_null(t);
    assert_true(ipc_decode_callout_answer(test_payload(t), &a) && a.token == 9);
    a.text = STR_NIL; /* it goes with the message */
    test_message_free(t);
    return a;
}

static void change(char *text, const char *from, char to)
{
    char *at = strstr(text, from);
    assert_non_null(at);
    *at = to;
}

/* Whose tag it is, asked as smtpd does at RCPT. */
static void test_tags(void **state)
{
    UNUSED(state);
    struct seen *s = begin(4);
    char address[128], forged[128];
    put(s, "a@example.com", "other@example.org");
    (void)snprintf(address, sizeof address, "%s", s->sender);
    assert_int_equal(ask(s, address).kind, RESULT_OK);
    for (char *p = address; *p != '\0'; p++) /* hosts on the way fold it */
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
    assert_int_equal(ask(s, address).kind, RESULT_OK);
    struct ipc_callout_answer a = ask(s, "bounce+x=one.two-aaaaaaaa@example.org");
    assert_true(a.kind == RESULT_PERMANENT && a.code == 0 && a.class == 5 && a.subject == 1 && a.detail == 1);
    (void)snprintf(forged, sizeof forged, "%s", s->sender); /* for another member, or of another domain */
    change(forged, "x=", 'y');
    assert_int_equal(ask(s, forged).kind, RESULT_PERMANENT);
    assert_int_equal(s->w.n_relay_jobs, 1); /* nobody else is asked */
    struct config plain = s->w.config;
    struct alias one[] = {aliases[0], aliases[2]}; /* the list is no more */
    s->domains[1].aliases = one;
    s->domains[1].n_aliases = 2;
    assert_int_equal(ask(s, s->sender).kind, RESULT_PERMANENT);
    UNUSED(plain);
    end(s);
}

/* The key is made once, and is the same after any crash once it was used. */
static void test_key_stays(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct seen *s = begin(200 + seed);
        put(s, "a@example.com", "other@example.org");
        restart(s, seed % 2 == 0);
        assert_int_equal(ask(s, s->sender).kind, RESULT_OK);
        char before[128];
        (void)snprintf(before, sizeof before, "%s", s->sender);
        put(s, "a@example.com", "other@example.org");
        assert_string_equal(before, s->sender);
        end(s);
    }
}

/* It dies while the key is being made. */
static void test_key_is_made_again(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct seen *s = begin_with(300 + seed, "");
        const struct config *old = s->w.env.config;
        s->w.env.config = &s->w.config2;
        queue_role.reload(s->w.q, old); /* asked for from now on: the file is being written */
        test_run(&s->w, seed % 5);
        restart(s, true);
        s->w.config.policy.verp = STR("bounce");
        restart(s, false);
        assert_int_equal(s->w.n_failed, 0);
        put(s, "a@example.com", "other@example.org");
        assert_int_equal(count_lines(s, "bounce+x=one.two-", ">x@one.two"), 1);
        restart(s, true);
        assert_int_equal(ask(s, s->sender).kind, RESULT_OK);
        end(s);
    }
}

/* A file that can't be used: told, and the lists go on. What comes back waits for an operator. */
static void test_key_is_damaged(void **state)
{
    UNUSED(state);
    struct seen *s = begin(5);
    put(s, "a@example.com", "other@example.org");
    char address[128];
    (void)snprintf(address, sizeof address, "%s", s->sender);
    test_kill(&s->w);
    assert_true(sim_disk_rot(s->w.medium, "verp", 20, 0x80));
    test_start(&s->w);
    assert_true(test_saw(&s->w, "the key of return paths"));
    buf_reset(&s->log);
    put(s, "a@example.com", "other@example.org");
    assert_int_equal(count_lines(s, "owner-other@example.org>", "x@one.two"), 1);
    assert_int_equal(ask(s, address).kind, RESULT_TEMPORARY);
    assert_int_equal(test_put(&s->w, "", address, STR(MAIL), NULL), ERR_OK);
    test_run(&s->w, MINUTE);
    assert_int_equal(test_count(&s->w, EVENT_DEFERRED), 1);
    test_kill(&s->w);
    assert_true(sim_disk_rot(s->w.medium, "verp", 20, 0x80)); /* mended */
    test_start(&s->w);
    test_run(&s->w, HOUR);
    assert_int_equal(count_lines(s, ">", "bob@example.org"), 1);
    script_expect_empty(&s->w);
    end(s);
}

/* ---- in ---- */

/* People and programs that write no report: the owner reads it. */
static void test_to_owner(void **state)
{
    UNUSED(state);
    struct seen *s = begin(6);
    put(s, "a@example.com", "other@example.org");
    buf_reset(&s->log);
    put(s, "someone@three.two", s->sender);
    assert_int_equal(count_lines(s, "someone@three.two>", "bob@example.org"), 1);
    put(s, "", s->sender);
    assert_int_equal(count_lines(s, ">", "bob@example.org"), 1);
    script_expect_empty(&s->w);
    assert_int_equal(test_count(&s->w, EVENT_BOUNCED), 0);
    put(s, "someone@three.two", "bounce+x=one.two-aaaaaaaa@example.org");
    assert_int_equal(test_count(&s->w, EVENT_FAILED), 1);
    assert_true(test_saw(&s->w, "no list of ours has written that return path"));
    script_expect_empty(&s->w);
    end(s);
}

/* What smtpd makes of a report, in the record that it sends. */
static struct str record_of(const struct feedback *f, struct buf *mem)
{
    buf_reset(mem);
    assert_true(feedback_put(f, mem));
    return buf_str(mem);
}

static const struct feedback no_such_user = {.kind = FEEDBACK_DELIVERY,
                                             .action = DSN_REPORT_FAILED,
                                             .status = {5, 1, 1},
                                             .text = STR_INIT("550 5.1.1 no such user")};

static void put_report(struct seen *s, const char *rcpts, const struct feedback *f, struct handle *pipe,
                       uint64_t *out_id)
{
    char mem[FEEDBACK_MAX], params_mem[MAIL_PARAMS_MAX], list_mem[2048];
    struct buf record, params, list, b;
    buf_init_fixed(&record, mem, sizeof mem);
    buf_init_fixed(&params, params_mem, sizeof params_mem);
    buf_init_fixed(&list, list_mem, sizeof list_mem);
    buf_init(&b, IPC_FRAME_MAX);
    for (struct str rest = str_from_c(rcpts); rest.n > 0;)
        assert_true(rcpt_put(&(struct rcpt){.address = str_cut(&rest, ' ')}, &list));
    assert_true(mail_params_put(
        &(struct mail_params){.feedback = f == NULL ? STR_NIL : record_of(f, &record)}, &params));
    *out_id = test_new_id(&s->w);
    struct ipc_put m = {.token = *out_id,
                        .id = *out_id,
                        .params = buf_str(&params),
                        .rcpts = buf_str(&list),
                        .client = STR("198.51.100.7"),
                        .helo = STR("mx.one.two"),
                        .is_piped = pipe != NULL,
                        .body = pipe != NULL ? STR_NIL : STR(MAIL)};
    assert_true(ipc_encode_put(&m, &b));
    test_send(&s->w.smtpd, IPC_PUT, buf_str(&b), pipe);
    buf_fini(&b);
}

static void expect_taken(struct seen *s)
{
    struct test_message *t = NULL;
    struct ipc_put_done done;
    for (unsigned i = 0; i < 1000 && t == NULL; i++) {
        test_run(&s->w, 1);
        t = test_take(&s->w.smtpd, IPC_PUT_DONE);
    }
    assert_non_null(t);
    assert_true(ipc_decode_put_done(test_payload(t), &done));
    assert_int_equal(done.err, ERR_OK);
    test_message_free(t);
}

static bool saw_line(struct seen *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool saw_line(struct seen *s, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (!test_saw(&s->w, text))
        (void)fprintf(stderr, "no \"%s\" in\n%.*s", text, (int)s->w.events_text.n, s->w.events_text.p);
    return test_saw(&s->w, text);
}

static void test_reports(void **state)
{
    UNUSED(state);
    static const struct {
        struct feedback f;
        const char *said;
    } rows[] = {
        {{.kind = FEEDBACK_DELIVERY,
          .action = DSN_REPORT_FAILED,
          .status = {5, 1, 1},
          .text = STR_INIT("550 5.1.1 no such user")},
         "failed 5.1.1: 550 5.1.1 no such user"},
        {{.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_FAILED, .status = {4, 4, 7}}, "failed 4.4.7"},
        {{.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_DELAYED, .status = {4, 4, 1}}, "delayed 4.4.1"},
        {{.kind = FEEDBACK_DELIVERY, .action = DSN_REPORT_RELAYED, .status = {2, 0, 0}}, "relayed 2.0.0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *s = begin(400 + i);
        uint64_t id;
        put(s, "a@example.com", "other@example.org");
        buf_reset(&s->log);
        put_report(s, s->sender, &rows[i].f, NULL, &id);
        expect_taken(s);
        test_run(&s->w, MINUTE);
        assert_true(saw_line(s, "returned %llx 0 owner-other@example.org x@one.two %s\n",
                             (unsigned long long)id, rows[i].said));
        assert_true(saw_line(s, "done %llx 0", (unsigned long long)id));
        assert_int_equal(s->log.n, 0); /* nobody gets it */
        assert_int_equal(s->w.q->count.returned, 1);
        script_expect_empty(&s->w);
        end(s);
    }
}

/* A report in a message that is too large to come inline. */
static void test_large_report(void **state)
{
    UNUSED(state);
    for (unsigned is_bad = 0; is_bad < 2; is_bad++) {
        struct seen *s = begin(410 + is_bad);
        char mem[FEEDBACK_MAX], payload_mem[2 * FEEDBACK_MAX];
        struct buf record, payload;
        struct str body = script_body(100 * 1000);
        struct test_pipe *p;
        uint64_t id;
        buf_init_fixed(&record, mem, sizeof mem);
        buf_init_fixed(&payload, payload_mem, sizeof payload_mem);
        put(s, "a@example.com", "other@example.org");
        buf_reset(&s->log);
        struct handle *h = test_pipe_new(&s->w, &p);
        put_report(s, s->sender, NULL, h, &id);
        test_pipe_write(p, body);
        test_pipe_end(p);
        struct ipc_put_commit m = {
            .token = id, .size = body.n, .feedback = record_of(&no_such_user, &record)};
        if (is_bad)
            m.feedback = STR("nonsense");
        assert_true(ipc_encode_put_commit(&m, &payload));
        test_send(&s->w.smtpd, IPC_PUT_COMMIT, buf_str(&payload), NULL);
        test_run(&s->w, MINUTE);
        assert_int_equal(test_count(&s->w, EVENT_RETURNED), is_bad ? 0 : 1);
        assert_int_equal(s->log.n, 0);
        script_expect_empty(&s->w);
        mem_free((void *)(uintptr_t)body.p);
        end(s);
    }
}

/* Whenever it dies: the report is read, and nobody gets it. */
static void test_report_restarts(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct seen *s = begin(500 + seed);
        uint64_t id;
        put(s, "a@example.com", "other@example.org");
        buf_reset(&s->log);
        put_report(s, s->sender, &no_such_user, NULL, &id);
        expect_taken(s);
        test_run(&s->w, seed / 2 % 8);
        restart(s, seed % 2 == 0);
        test_run(&s->w, MINUTE);
        assert_in_range(test_count(&s->w, EVENT_RETURNED), 1, 2);
        assert_int_equal(s->log.n, 0);
        script_expect_empty(&s->w);
        end(s);
    }
}

/* With others in one message: each by what he is. */
static void test_report_among_others(void **state)
{
    UNUSED(state);
    struct seen *s = begin(7);
    char rcpts[512];
    uint64_t id;
    put(s, "a@example.com", "other@example.org");
    buf_reset(&s->log);
    (void)snprintf(rcpts, sizeof rcpts, "alice@example.org %s bounce+x=one.two-aaaaaaaa@example.org",
                   s->sender);
    put_report(s, rcpts, &no_such_user, NULL, &id);
    expect_taken(s);
    test_run(&s->w, MINUTE);
    assert_int_equal(count_lines(s, ">", "alice@example.org"), 1);
    assert_int_equal(count_lines(s, "", ""), 1);
    assert_int_equal(test_count(&s->w, EVENT_RETURNED), 1);
    assert_int_equal(test_count(&s->w, EVENT_FAILED), 1);
    script_expect_empty(&s->w);
    end(s);
}

/* The report is our own: the member's server refuses him while we speak with it. */
static void test_own_report(void **state)
{
    UNUSED(state);
    static const char *const no[] = {"550 5.1.1 no such user", NULL};
    struct seen *s = begin(8);
    s->x_says = no;
    put(s, "a@example.com", "news@example.org");
    assert_true(saw_line(s, " owner-news@example.org x@one.two failed 5.1.1: 550 5.1.1 no such user\n"));
    assert_int_equal(test_count(&s->w, EVENT_BOUNCED), 1);
    assert_int_equal(test_count(&s->w, EVENT_RETURNED), 1);
    assert_int_equal(count_lines(s, ">", ""), 0); /* the owner is not bothered */
    assert_int_equal(test_count(&s->w, EVENT_DELIVERED), 4);
    script_expect_empty(&s->w);
    s->w.config.delay_after_s = 3600; /* later: a word of delay, and then that it was given up */
    s->x_says = script_later;
    put(s, "a@example.com", "other@example.org");
    test_run(&s->w, 6 * DAY);
    assert_true(saw_line(s, "x@one.two failed 5.4.7: 450 4.2.0 come back later\n"));
    assert_int_equal(count_lines(s, ">", ""), 0);
    script_expect_empty(&s->w);
    end(s);
}

/* ---- complaints ---- */

static void test_complaints(void **state)
{
    UNUSED(state);
    struct seen *s = begin(9);
    uint64_t id;
    s->w.config.policy.arf = STR("alice@example.org");
    put(s, "a@example.com", "other@example.org");
    buf_reset(&s->log);
    struct feedback f = {.kind = FEEDBACK_COMPLAINT,
                         .type = STR("abuse"),
                         .source_ip = STR("192.0.2.1"),
                         .return_path = str_from_c(s->sender),
                         .rcpt = STR("y@one.two")};
    put_report(s, "Alice@example.org", &f, NULL, &id);
    expect_taken(s);
    test_run(&s->w, MINUTE);
    assert_true(saw_line(s,
                         "complained %llx 0 192.0.2.1 x@one.two abuse, mail of the list of "
                         "owner-other@example.org\n",
                         (unsigned long long)id));
    assert_int_equal(count_lines(s, ">", "lice@example.org"), 1); /* and its reader has it */
    f.return_path = STR("bounce+x=one.two-aaaaaaaa@example.org");
    put_report(s, "alice@example.org", &f, NULL, &id);
    expect_taken(s);
    test_run(&s->w, MINUTE);
    assert_true(saw_line(s, "y@one.two abuse, without a return path of ours\n"));
    /* only at the address for it; a report on delivery is none */
    put_report(s, "bob@example.org", &f, NULL, &id);
    expect_taken(s);
    put_report(s, "alice@example.org", &no_such_user, NULL, &id);
    expect_taken(s);
    put_report(s, s->sender, &f, NULL, &id); /* a complaint at a return path: the owner's to read */
    expect_taken(s);
    test_run(&s->w, MINUTE);
    assert_int_equal(test_count(&s->w, EVENT_COMPLAINED), 2);
    assert_int_equal(test_count(&s->w, EVENT_RETURNED), 0);
    assert_int_equal(count_lines(s, ">", "bob@example.org"), 2);
    assert_int_equal(count_lines(s, ">", "lice@example.org"), 3);
    script_expect_empty(&s->w);
    end(s);
}

/* ---- the suppression list ---- */

static void suppress_on(struct seen *s)
{
    s->w.config.suppress = true;
    s->w.config.suppress_keep_s = 30 * 86400;
}

static void expect_skipped(struct seen *s, bool is_skipped)
{
    buf_reset(&s->log);
    put(s, "a@example.com", "other@example.org");
    assert_int_equal(count_lines(s, "", ">x@one.two"), is_skipped ? 0 : 1);
    if (!is_skipped) /* an address of the list stands in the store */
        script_expect_empty(&s->w);
}

/* What a report about a member says, and which of it ends his list mail. */
static void test_report_teaches(void **state)
{
    UNUSED(state);
    static const struct {
        enum dsn_report_action action;
        struct esc status;
        struct str text;
        bool teaches;
    } rows[] = {
        {DSN_REPORT_FAILED, {5, 1, 1}, STR_INIT("550 5.1.1 no such user"), true},
        {DSN_REPORT_FAILED, {5, 2, 2}, STR_INIT("552 5.2.2 mailbox full"), false},
        {DSN_REPORT_FAILED, {5, 0, 0}, STR_INIT("550 no"), false},
        {DSN_REPORT_DELAYED, {4, 1, 1}, STR_INIT("450 4.1.1 no such user"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen *s = begin(600 + i);
        uint64_t id;
        suppress_on(s);
        put(s, "a@example.com", "other@example.org");
        const struct feedback f = {.kind = FEEDBACK_DELIVERY,
                                   .action = rows[i].action,
                                   .status = rows[i].status,
                                   .text = rows[i].text};
        put_report(s, s->sender, &f, NULL, &id);
        expect_taken(s);
        test_run(&s->w, MINUTE);
        assert_int_equal(suppress_is_listed(s->w.q, STR("x@one.two")), rows[i].teaches);
        assert_int_equal(suppress_count(s->w.q), rows[i].teaches);
        expect_skipped(s, rows[i].teaches);
        end(s);
    }
}

static void test_complaint_teaches(void **state)
{
    UNUSED(state);
    static const struct str types[] = {STR_INIT("abuse"), STR_INIT("not-spam"), STR_INIT("abuse")};
    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        struct seen *s = begin(620 + i);
        uint64_t id;
        bool is_forged = i == 2, teaches = i == 0;
        suppress_on(s);
        s->w.config.policy.arf = STR("alice@example.org");
        put(s, "a@example.com", "other@example.org");
        const struct feedback f = {.kind = FEEDBACK_COMPLAINT,
                                   .type = types[i],
                                   .return_path = is_forged ? STR("bounce+x=one.two-aaaaaaaa@example.org")
                                                            : str_from_c(s->sender),
                                   .rcpt = STR("x@one.two")};
        put_report(s, "alice@example.org", &f, NULL, &id);
        expect_taken(s);
        test_run(&s->w, MINUTE);
        assert_int_equal(suppress_is_listed(s->w.q, STR("x@one.two")), teaches);
        expect_skipped(s, teaches);
        end(s);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_not_for),
        cmocka_unit_test(test_expansion_restarts),
        cmocka_unit_test(test_many_members),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_key_stays),
        cmocka_unit_test(test_key_is_made_again),
        cmocka_unit_test(test_key_is_damaged),
        cmocka_unit_test(test_to_owner),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_large_report),
        cmocka_unit_test(test_report_restarts),
        cmocka_unit_test(test_report_among_others),
        cmocka_unit_test(test_own_report),
        cmocka_unit_test(test_complaints),
        cmocka_unit_test(test_report_teaches),
        cmocka_unit_test(test_complaint_teaches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
