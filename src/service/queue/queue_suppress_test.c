/* Addresses that members of lists are not sent to. */
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

/* ---- a list, and servers that refuse ---- */

#define ADDRESS(literal)                                                                                     \
    {                                                                                                        \
        .kind = ALIAS_ADDRESS, .text = STR_INIT(literal)                                                     \
    }
static const struct alias_target to_one[] = {ADDRESS("x@one.two")};
static const struct alias_target to_news[] = {ADDRESS("x@one.two"), ADDRESS("y@one.two"),
                                              ADDRESS("alice@example.org"), ADDRESS("z@other.test")};
static const struct alias aliases[] = {
    {.name = STR_INIT("news"), .targets = to_news, .n_targets = 4, .owner = STR_INIT("carol@example.org")},
    {.name = STR_INIT("one"), .targets = to_one, .n_targets = 1, .owner = STR_INIT("carol@example.org")},
    {.name = STR_INIT("plain"), .targets = to_one, .n_targets = 1},
};

struct rig {
    struct test_world w; /* first */
    struct local_domain domains[2];
    const char *says; /* of addresses that begin with x or X; NULL: they are taken */
    uint8_t at;       /* the stage */
    unsigned n_tried, n_others, n_local;
    struct buf rows;
};

static void relay(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    struct rig *g = (struct rig *)w;
    const char *results[101] = {NULL};
    struct reader r = reader_of(m->rcpts);
    struct rcpt one;
    uint32_t n = 0;
    UNUSED(given);
    while (rcpt_next(&r, &one) && n < 100) {
        bool is_x = ascii_lower(one.address.p[0]) == 'x';
        g->n_tried += is_x;
        g->n_others += !is_x;
        results[n++] = is_x && g->says != NULL ? g->says : "250 2.0.0 taken";
    }
    test_job_done(&w->relay, m->token, n, g->at, results);
}

static void local(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    ((struct rig *)w)->n_local++;
    script_local_takes(w, m, given);
}

static struct rig *begin(uint64_t seed)
{
    struct rig *g = mem_must_new(struct rig);
    struct test_world *w = &g->w;
    test_world_init(w, seed);
    buf_init(&g->rows, 1024 * 1024);
    g->domains[0] = w->config.policy.domains[0];
    g->domains[1] = w->config.policy.domains[1];
    g->domains[1].aliases = aliases;
    g->domains[1].n_aliases = ARRAY_LEN(aliases);
    g->says = "550 5.1.1 <x@one.two>: user unknown";
    g->at = SMTP_AT_RCPT;
    w->config.policy.domains = g->domains;
    w->config.suppress = true;
    w->config.suppress_keep_s = 30 * 86400;
    w->on_relay_job = relay;
    w->on_local_job = local;
    w->on_mx_ask = script_mx;
    test_start(w);
    return g;
}

static void end(struct rig *g)
{
    test_world_fini(&g->w);
    buf_fini(&g->rows);
    mem_free(g);
}

static bool is_idle(struct test_world *w)
{
    return w->q->schedule.n_entries == 0 && w->q->n_works == 0;
}

/* Sends a message and waits until all of it is settled, and what was learnt is on disk. */
static void mail(struct rig *g, const char *to)
{
    assert_int_equal(test_put(&g->w, "a@example.com", to, STR(MAIL), NULL), ERR_OK);
    test_until(&g->w, is_idle, HOUR);
    test_run(&g->w, 1000);
}

static unsigned tries(struct rig *g, const char *to)
{
    unsigned n = g->n_tried;
    mail(g, to);
    return g->n_tried - n;
}

static size_t n_live(const struct rig *g)
{
    struct store_stats st;
    store_get_stats(g->w.q->store, &st);
    return (size_t)st.n_live;
}

static const char *ask(struct rig *g, enum ctl_verb verb, const char *text)
{
    assert_int_equal(test_ask(&g->w, verb, 0, text, 0, &g->rows), ERR_OK);
    buf_putc(&g->rows, '\0');
    return g->rows.p;
}

static void restart(struct rig *g, unsigned how)
{
    if (how == 1)
        test_kill(&g->w);
    else if (how == 2)
        test_power_cut(&g->w);
    if (how != 0)
        test_start(&g->w);
}

/* ---- tests ---- */

static void refused_once(void **state)
{
    UNUSED(state);
    for (unsigned how = 0; how < 3; how++) {
        struct rig *g = begin(1 + how);
        assert_int_equal(tries(g, "news@example.org"), 1);
        assert_int_equal(g->n_others, 2);
        assert_int_equal(g->n_local, 2); /* alice, and the report to carol */
        assert_int_equal(test_count(&g->w, EVENT_BOUNCED), 1);
        assert_int_equal(test_count(&g->w, EVENT_LISTED), 1);
        assert_int_equal(n_live(g), 1);
        restart(g, how);
        assert_int_equal(suppress_count(g->w.q), 1);
        assert_int_equal(g->w.q->schedule.n_entries, 0); /* it is no mail */
        assert_int_equal(tries(g, "news@example.org"), 0);
        assert_int_equal(g->n_others, 4);
        assert_int_equal(g->n_local, 3);
        assert_int_equal(test_count(&g->w, EVENT_BOUNCED), 1); /* nobody is told again */
        assert_int_equal(test_count(&g->w, EVENT_NOT_BOUNCED), 0);
        assert_int_equal(test_count(&g->w, EVENT_SUPPRESSED), 1);
        assert_true(test_saw(&g->w,
                             "x@one.two suppressed: refused on 2025-11-24: mx.test [192.0.2.1]:25 said "
                             "550 5.1.1 <x@one.two>: user unknown"));
        assert_int_equal(tries(g, "one@example.org"), 0); /* nobody is left: the entry is done */
        assert_int_equal(test_count(&g->w, EVENT_SUPPRESSED), 2);
        assert_int_equal(n_live(g), 1);
        end(g);
    }
}

/* An address that somebody wrote out, or an alias leads to, is always tried. */
static void only_lists(void **state)
{
    UNUSED(state);
    struct rig *g = begin(10);
    assert_int_equal(tries(g, "x@one.two"), 1);
    assert_int_equal(suppress_count(g->w.q), 1); /* learnt of any mail */
    assert_int_equal(tries(g, "x@one.two"), 1);
    assert_int_equal(tries(g, "plain@example.org"), 1);
    assert_int_equal(tries(g, "one@example.org"), 0);
    assert_int_equal(test_count(&g->w, EVENT_LISTED), 1); /* not written again each time */
    end(g);
}

static void success_ends_it(void **state)
{
    UNUSED(state);
    for (unsigned how = 0; how < 3; how++) {
        struct rig *g = begin(20 + how);
        mail(g, "one@example.org");
        assert_int_equal(tries(g, "one@example.org"), 0);
        g->says = NULL;
        g->at = SMTP_AT_END;
        mail(g, "X@One.Two"); /* whatever letters */
        assert_int_equal(suppress_count(g->w.q), 0);
        assert_int_equal(n_live(g), 0);
        restart(g, how);
        assert_int_equal(suppress_count(g->w.q), 0);
        assert_int_equal(tries(g, "one@example.org"), 1);
        assert_int_equal(test_count(&g->w, EVENT_UNLISTED), 1);
        end(g);
    }
}

static void what_teaches(void **state)
{
    UNUSED(state);
    static const struct {
        const char *says;
        uint8_t at;
        bool want;
    } rows[] = {
        {"550 5.1.1 user unknown", SMTP_AT_RCPT, true},
        {"550 no such user here", SMTP_AT_RCPT, true},
        {"550 5.2.1 mailbox disabled", SMTP_AT_RCPT, true},
        {"550 no", SMTP_AT_RCPT, false}, /* a rule may say that too */
        {"552 5.2.2 mailbox full", SMTP_AT_RCPT, false},
        {"554 5.7.1 blocked using zen.spamhaus.org", SMTP_AT_RCPT, false},
        {"554 5.7.1 relay access denied", SMTP_AT_RCPT, false},
        {"550 5.1.1 user unknown", SMTP_AT_END, false}, /* of which of them? */
        {"550 5.1.2 no such domain", SMTP_AT_RCPT, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig *g = begin(30 + i);
        g->says = rows[i].says;
        g->at = rows[i].at;
        mail(g, "x@one.two");
        assert_int_equal(suppress_count(g->w.q), rows[i].want);
        g->w.config.suppress = false;
        g->at = SMTP_AT_RCPT;
        g->says = "550 5.1.1 user unknown";
        assert_int_equal(tries(g, "one@example.org"), 1);       /* off: not applied ... */
        assert_int_equal(suppress_count(g->w.q), rows[i].want); /* ... and not learnt */
        end(g);
    }
}

/* In LMTP each recipient has its own answer behind the message (RFC 2033 4.2). */
static void lmtp_teaches(void **state)
{
    UNUSED(state);
    struct rig *g = begin(50);
    g->at = SMTP_AT_END;
    mail(g, "x@example.net");
    assert_int_equal(suppress_count(g->w.q), 1);
    end(g);
}

static void it_ends(void **state)
{
    UNUSED(state);
    for (unsigned how = 0; how < 2; how++) {
        struct rig *g = begin(60 + how);
        mail(g, "one@example.org");
        test_run(&g->w, (uint64_t)29 * DAY);
        assert_int_equal(tries(g, "one@example.org"), 0);
        if (how == 1)
            restart(g, 1);
        test_run(&g->w, (uint64_t)1 * DAY);
        assert_int_equal(suppress_count(g->w.q), 0);
        assert_int_equal(n_live(g), 0);
        assert_int_equal(tries(g, "one@example.org"), 1);
        end(g);
    }
}

/* A clock that stepped back ends nothing; a shorter time counts for what is there. */
static void keep_is_read_anew(void **state)
{
    UNUSED(state);
    struct rig *g = begin(65);
    mail(g, "one@example.org");
    g->w.wall_ms -= (int64_t)400 * DAY;
    test_run(&g->w, HOUR);
    assert_int_equal(suppress_count(g->w.q), 1);
    g->w.wall_ms += (int64_t)400 * DAY;
    g->w.config.suppress_keep_s = 3600;
    assert_false(suppress_is_listed(g->w.q, STR("x@one.two"))); /* at once, before any sweep */
    assert_int_equal(tries(g, "one@example.org"), 1);
    end(g);
}

static void learn(struct rig *g, const char *address, enum suppress_reason reason)
{
    suppress_learn(g->w.q, str_from_c(address), reason, STR("because"), 0);
    test_run(&g->w, 200);
}

static void at_most(void **state)
{
    UNUSED(state);
    struct rig *g = begin(70);
    g->w.q->suppressed_max = 3;
    for (unsigned i = 0; i < 10; i++) {
        char mem[32];
        (void)snprintf(mem, sizeof mem, "x%u@one.two", i);
        learn(g, mem, SUPPRESS_BOUNCED);
        test_run(&g->w, 1000);
    }
    assert_int_equal(suppress_count(g->w.q), 3);
    assert_int_equal(n_live(g), 3);
    assert_false(suppress_is_listed(g->w.q, STR("x6@one.two")));
    assert_true(suppress_is_listed(g->w.q, STR("x7@one.two")));
    restart(g, 1);
    assert_int_equal(suppress_count(g->w.q), 3);
    assert_true(suppress_is_listed(g->w.q, STR("x9@one.two")));
    end(g);
}

/* What a report or a complaint said no 250 takes back; a stronger reason takes the place of a weaker. */
static void reasons(void **state)
{
    UNUSED(state);
    struct rig *g = begin(80);
    mail(g, "one@example.org");
    learn(g, "x@one.two", SUPPRESS_COMPLAINED);
    assert_int_equal(test_count(&g->w, EVENT_LISTED), 2);
    learn(g, "x@one.two", SUPPRESS_BOUNCED); /* weaker */
    assert_int_equal(test_count(&g->w, EVENT_LISTED), 2);
    assert_int_equal(suppress_count(g->w.q), 1);
    assert_int_equal(n_live(g), 1);
    restart(g, 1);
    assert_non_null(strstr(ask(g, CTL_SUPPRESSED, ""), "\"reason\":\"complained\",\"why\":\"because\"}"));
    g->says = NULL;
    g->at = SMTP_AT_END;
    mail(g, "x@one.two");
    assert_int_equal(suppress_count(g->w.q), 1);
    assert_int_equal(tries(g, "one@example.org"), 0);
    assert_true(test_saw(&g->w, "x@one.two suppressed: complained of on 2025-11-24: because"));
    learn(g, "x@one.two", SUPPRESS_COMPLAINED); /* the same day: nothing to write */
    assert_int_equal(test_count(&g->w, EVENT_LISTED), 2);
    test_run(&g->w, (uint64_t)2 * DAY);
    learn(g, "x@one.two", SUPPRESS_COMPLAINED); /* it lasts on from here */
    assert_int_equal(test_count(&g->w, EVENT_LISTED), 3);
    assert_int_equal(n_live(g), 1);
    learn(g, "no address", SUPPRESS_BOUNCED);
    learn(g, "@", SUPPRESS_BOUNCED);
    learn(g, "a\n@b", SUPPRESS_BOUNCED);
    assert_int_equal(suppress_count(g->w.q), 1);
    end(g);
}

static void operators(void **state)
{
    UNUSED(state);
    struct rig *g = begin(90);
    assert_string_equal(ask(g, CTL_SUPPRESS, "x@One.two he asked us"), "{\"changed\":1,\"addresses\":1}\n");
    assert_string_equal(ask(g, CTL_SUPPRESS, "x@one.two again"), "{\"changed\":1,\"addresses\":1}\n");
    assert_string_equal(ask(g, CTL_SUPPRESS, "y@one.two"), "{\"changed\":1,\"addresses\":2}\n");
    assert_string_equal(ask(g, CTL_SUPPRESS, "z@other.test"), "{\"changed\":1,\"addresses\":3}\n");
    restart(g, 2); /* what was answered is there */
    assert_int_equal(tries(g, "news@example.org"), 0);
    assert_int_equal(g->n_others, 0);
    assert_string_equal(ask(g, CTL_SUPPRESSED, "X@one.two"),
                        "{\"address\":\"x@One.two\",\"since\":\"2025-11-24T16:00:01Z\",\"until\":"
                        "\"2025-12-24T16:00:01Z\",\"reason\":\"operator\",\"why\":\"he asked us\"}\n");
    assert_non_null(strstr(ask(g, CTL_SUPPRESSED, "*@one.two"), "y@one.two"));
    assert_null(strstr(g->rows.p, "z@other.test"));
    assert_string_equal(ask(g, CTL_SUPPRESSED, "w@one.two"), "");
    assert_string_equal(ask(g, CTL_UNSUPPRESS, "w@one.two"), "{\"changed\":0,\"addresses\":3}\n");
    assert_string_equal(ask(g, CTL_UNSUPPRESS, "X@one.two"), "{\"changed\":1,\"addresses\":2}\n");
    restart(g, 2);
    assert_int_equal(tries(g, "news@example.org"), 1);
    assert_string_equal(ask(g, CTL_UNSUPPRESS, "*@other.*"), "{\"changed\":1,\"addresses\":2}\n");
    assert_string_equal(ask(g, CTL_UNSUPPRESS, ""), "{\"changed\":2,\"addresses\":0}\n");
    restart(g, 2);
    assert_int_equal(suppress_count(g->w.q), 0);
    assert_int_equal(n_live(g), 0);
    assert_int_equal(test_ask(&g->w, CTL_SUPPRESS, 0, "nobody", 0, &g->rows), ERR_INVALID);
    g->w.config.suppress = false;
    assert_int_equal(test_ask(&g->w, CTL_SUPPRESS, 0, "x@one.two", 0, &g->rows), ERR_DENIED);
    end(g);
}

/* More than a page of rows, and a walk that others disturb. */
static void many(void **state)
{
    UNUSED(state);
    struct rig *g = begin(100);
    char mem[64];
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(mem, sizeof mem, "someone-with-a-long-name-%04u@one.two", i);
        suppress_learn(g->w.q, str_from_c(mem), SUPPRESS_BOUNCED, STR("a report said so"), 0);
        if (i % 100 == 99)
            test_run(&g->w, 200);
    }
    assert_int_equal(suppress_count(g->w.q), 3000);
    size_t n = 0;
    struct str rest;
    assert_int_equal(test_ask(&g->w, CTL_SUPPRESSED, 0, "", 3000, &g->rows), ERR_OK);
    for (rest = buf_str(&g->rows); rest.n > 0; n++)
        (void)str_cut(&rest, '\n');
    assert_int_equal(n, 3000);
    struct suppress_cursor c;
    uint64_t id;
    suppress_walk_begin(g->w.q, &c);
    for (unsigned i = 0; i < 10; i++)
        assert_true(suppress_walk_next(g->w.q, &c, &id));
    assert_true(suppress_remove(g->w.q, STR("someone-with-a-long-name-0010@one.two")));
    for (n = 0; suppress_walk_next(g->w.q, &c, &id); n++)
        ;
    suppress_walk_end(&c);
    assert_int_equal(n, 2989);
    assert_int_equal(suppress_remove_all(g->w.q), 2999);
    test_run(&g->w, MINUTE);
    assert_int_equal(n_live(g), 0);
    end(g);
}

/* The power fails at some moment: what is found is a list that was there at some time, and mail goes on. */
static void any_moment(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct rig *g = begin(200 + seed);
        char mem[32];
        uint64_t pause = seed;
        for (unsigned i = 0; i < 40; i++) {
            (void)snprintf(mem, sizeof mem, "x%u@one.two", i % 12);
            if (i % 5 == 4)
                (void)suppress_remove(g->w.q, str_from_c(mem));
            else
                suppress_learn(g->w.q, str_from_c(mem), (enum suppress_reason)(1 + i % 4), STR("why"), 0);
            test_run(&g->w, pause % 23);
            pause = pause * 7 + 3;
        }
        test_power_cut(&g->w);
        test_start(&g->w);
        size_t n = suppress_count(g->w.q);
        assert_in_range(n, 0, 12);
        test_run(&g->w, 11 * MINUTE);
        assert_int_equal(n_live(g), n); /* nothing is left that nobody knows */
        assert_int_equal(g->w.q->schedule.n_entries, 0);
        assert_int_equal(suppress_remove_all(g->w.q), n);
        test_run(&g->w, MINUTE);
        assert_int_equal(n_live(g), 0);
        end(g);
    }
}

/* A record that can't be read gives up nobody. */
static void unreadable(void **state)
{
    UNUSED(state);
    struct rig *g = begin(300);
    mail(g, "one@example.org");
    struct sim_disk_fault f = {.at = 1, .count = UINT64_MAX, .kinds = 1u << DISK_READ, .err = ERR_IO};
    sim_disk_add_fault(g->w.medium, &f);
    assert_int_equal(tries(g, "one@example.org"), 1);
    assert_int_equal(test_count(&g->w, EVENT_SUPPRESSED), 0);
    sim_disk_clear_faults(g->w.medium);
    assert_int_equal(tries(g, "one@example.org"), 0);
    end(g);
}

/* A full disk or a store that has failed: the operator is told; what was answered is there, and of
 * what was not only the unit whose write failed may be (docs/queue.md, invariant 4). */
static void unwritable(void **state)
{
    UNUSED(state);
    for (unsigned is_full = 0; is_full < 2; is_full++) {
        struct rig *g = begin(310 + is_full);
        assert_string_equal(ask(g, CTL_SUPPRESS, "y@one.two"), "{\"changed\":1,\"addresses\":1}\n");
        struct sim_disk_fault f = {.at = 1, .count = UINT64_MAX, .kinds = 1u << DISK_WRITE, .err = ERR_IO};
        if (is_full == 1)
            sim_disk_set_capacity(g->w.medium, sim_disk_octets(g->w.medium, "."));
        else
            sim_disk_add_fault(g->w.medium, &f);
        enum err err = ERR_OK;
        char mem[32];
        for (unsigned i = 0; err == ERR_OK && i < 200; i++) {
            (void)snprintf(mem, sizeof mem, "x%u@one.two", i);
            err = test_ask(&g->w, CTL_SUPPRESS, 0, mem, 0, &g->rows);
        }
        if (is_full == 0) {
            assert_int_not_equal(err, ERR_OK);
            assert_int_equal(suppress_count(g->w.q), 1);
            assert_int_not_equal(test_ask(&g->w, CTL_SUPPRESS, 0, "z@one.two", 0, &g->rows), ERR_OK);
        }
        size_t n = suppress_count(g->w.q);
        sim_disk_clear_faults(g->w.medium);
        sim_disk_set_capacity(g->w.medium, UINT64_MAX);
        restart(g, 1);
        assert_in_range(suppress_count(g->w.q), n, is_full == 1 ? n : n + 1);
        end(g);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_once),
        cmocka_unit_test(only_lists),
        cmocka_unit_test(success_ends_it),
        cmocka_unit_test(what_teaches),
        cmocka_unit_test(lmtp_teaches),
        cmocka_unit_test(it_ends),
        cmocka_unit_test(keep_is_read_anew),
        cmocka_unit_test(at_most),
        cmocka_unit_test(reasons),
        cmocka_unit_test(operators),
        cmocka_unit_test(many),
        cmocka_unit_test(any_moment),
        cmocka_unit_test(unreadable),
        cmocka_unit_test(unwritable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
