/* The role over its life: restarts, failing disks, operators, new configurations, its end. */
#include "service/queue/queue_scripts.h"

#include "base/mem.h"
#include "proto/smtp_client.h"
#include "wire/received.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* ---- restarts ---- */

static void test_restart(void **state)
{
    UNUSED(state);
    for (unsigned power = 0; power < 2; power++) {
        struct test_world w;
        uint64_t id, held;
        struct buf rows;
        script_begin(&w, 80 + power);
        buf_init(&rows, 65536);
        w.on_relay_job = script_relay_defers;
        assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), &id), ERR_OK);
        assert_int_equal(test_put(&w, "alice@example.org", "y@one.two", STR(MAIL), &held), ERR_OK);
        test_run(&w, 20 * MINUTE);
        assert_int_equal(test_ask(&w, CTL_HOLD, held, "", 0, &rows), ERR_OK);
        uint64_t due_ms = schedule_entry_due(schedule_find(&w.q->schedule, id));
        uint16_t attempts = schedule_find(&w.q->schedule, id)->n_attempts;
        assert_true(attempts >= 2);
        if (power == 1)
            test_power_cut(&w);
        else
            test_kill(&w);
        uint64_t jobs = w.n_relay_jobs;
        test_start(&w);
        test_run(&w, 100);
        struct schedule_entry *e = schedule_find(&w.q->schedule, id);
        assert_non_null(e);
        assert_int_equal(e->n_attempts, attempts);
        assert_in_range(schedule_entry_due(e), due_ms - 2, due_ms + 2);
        assert_int_equal(schedule_find(&w.q->schedule, held)->state, ENTRY_HELD);
        assert_true(str_eq(schedule_site_name(e->site),
                           STR("mx:mx1.test,mx2.test"))); /* learnt from its last result */
        assert_int_equal(w.n_relay_jobs, jobs);
        w.on_relay_job = script_relay_takes;
        test_run(&w, HOUR);
        assert_null(schedule_find(&w.q->schedule, id));
        assert_int_equal(test_ask(&w, CTL_RELEASE, held, "", 0, &rows), ERR_OK);
        test_run(&w, 1000);
        script_expect_empty(&w);
        buf_fini(&rows);
        test_world_fini(&w);
    }
}

/* What was answered with ERR_OK survives power loss at any later moment, and arrives. */
static void test_power_loss_after_ack(void **state)
{
    UNUSED(state);
    for (uint64_t seed = 1; seed <= 25; seed++) {
        struct test_world w;
        script_begin(&w, 1000 + seed);
        w.on_local_job = NULL;
        w.on_relay_job = NULL;
        assert_int_equal(test_put(&w, "a@example.com", "alice@example.org x@one.two", STR(MAIL), NULL),
                         ERR_OK);
        test_run(&w, seed % 12); /* before, within and after the split */
        test_power_cut(&w);
        w.on_local_job = script_local_takes;
        w.on_relay_job = script_relay_takes;
        test_start(&w);
        test_run(&w, 10 * 1000);
        script_expect_empty(&w);
        assert_int_equal(w.n_local_jobs, 1);
        assert_int_equal(w.n_relay_jobs, 1);
        test_world_fini(&w);
    }
}

static void test_second_server(void **state)
{
    UNUSED(state);
    struct test_world w;
    test_world_init(&w, 90);
    test_start(&w);
    struct test_world *second = mem_must_new(struct test_world);
    test_world_init(second, 91);
    sim_disk_del(&second->medium);
    second->medium = w.medium;
    second->env = (struct role_env){
        .world = &second->world, .role = ROLE_QUEUE, .config = &second->config, .root = "."};
    second->q = queue_role.create(&second->env);
    assert_non_null(second->q);
    test_run(second, 5000);
    assert_int_equal(second->n_failed, 1);
    assert_non_null(strstr(second->fail_reason, "another server"));
    test_kill(second);
    buf_fini(&second->events_text);
    mem_free(second);
    test_world_fini(&w);
}

/* ---- trouble ---- */

static void test_full_disk(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 92);
    w.on_relay_job = script_relay_defers;
    struct str body = script_body(60000);
    sim_disk_set_capacity(w.medium, sim_disk_octets(w.medium, "."));
    enum err err = ERR_OK;
    unsigned n = 0;
    while (err == ERR_OK && n < 3000) {
        err = test_put(&w, "alice@example.org", "x@one.two", body, NULL);
        n++;
    }
    assert_int_equal(err, ERR_NOSPACE);
    assert_true(test_count(&w, EVENT_TROUBLE) >= 1 &&
                test_count(&w, EVENT_TROUBLE) < 5); /* told, not repeated */
    w.on_relay_job = script_relay_takes;            /* what is there still goes out and makes room */
    test_run(&w, 6 * HOUR);
    assert_int_equal(w.q->schedule.n_entries, 0);
    sim_disk_set_capacity(w.medium, UINT64_MAX);
    test_run(&w, 60 * 1000);
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 1000);
    script_expect_empty(&w);
    char *mem = (char *)(uintptr_t)body.p;
    mem_free(mem);
    test_world_fini(&w);
}

static void test_broken_disk(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 93);
    w.on_relay_job = NULL;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    struct sim_disk_fault f = {.at = 1, .count = UINT64_MAX, .kinds = 1u << DISK_WRITE, .err = ERR_IO};
    sim_disk_add_fault(w.medium, &f);
    assert_int_equal(test_put(&w, "alice@example.org", "y@one.two", STR(MAIL), NULL), ERR_IO);
    assert_int_equal(test_put(&w, "alice@example.org", "y@one.two", STR(MAIL), NULL), ERR_IO);
    assert_int_equal(test_count(&w, EVENT_TROUBLE), 1);
    uint64_t jobs = w.q->count.attempts;
    test_run(&w, DAY);
    assert_int_equal(w.q->count.attempts, jobs); /* an outcome could not be recorded */
    sim_disk_clear_faults(w.medium);
    test_kill(&w);
    w.on_relay_job = script_relay_takes;
    test_start(&w);
    test_run(&w, DAY);
    assert_int_equal(test_count(&w, EVENT_DELIVERED), w.n_relay_jobs);
    assert_true(w.n_relay_jobs >= 1); /* the refused one may be there too: nobody promised that it is not */
    script_expect_empty(&w);
    test_world_fini(&w);
}

struct rot {
    struct sim_disk *medium;
    struct str needle;
    uint64_t at[8];
    char path[8][64];
    unsigned n;
};

static void find_octets(void *arg, const char *path, uint64_t size)
{
    struct rot *rot = arg;
    char *mem = mem_must_alloc((size_t)size + 1);
    assert_true(sim_disk_peek(rot->medium, path, 0, mem, (size_t)size));
    struct str rest = str_of(mem, (size_t)size);
    for (size_t at; (at = str_find(rest, rot->needle)) != STR_NPOS; rest = str_skip(rest, at + 1)) {
        assert_true(rot->n < ARRAY_LEN(rot->at));
        rot->at[rot->n] = (uint64_t)(rest.p - mem) + at;
        (void)snprintf(rot->path[rot->n++], sizeof rot->path[0], "%s", path);
    }
    mem_free(mem);
}

/* The medium damages every copy of these octets. */
static void rot_octets(struct test_world *w, struct str needle)
{
    struct rot rot = {.medium = w->medium, .needle = needle};
    sim_disk_each_file(w->medium, ".", find_octets, &rot);
    assert_true(rot.n > 0);
    for (unsigned i = 0; i < rot.n; i++)
        assert_true(sim_disk_rot(w->medium, rot.path[i], rot.at[i], 0x40));
}

static void report_without_original(struct test_world *w, const struct ipc_local_job *m, struct handle *given)
{
    assert_true(str_find(m->body, STR("can't be read from the queue's disk")) != STR_NPOS);
    assert_true(str_find(m->body, STR("Final-Recipient: rfc822; x@one.two")) != STR_NPOS);
    assert_true(str_find(m->body, STR("rfc822-headers")) == STR_NPOS);
    script_local_takes(w, m, given);
}

/* A message that is held, in a queue that has been started since: nothing of it is in memory. */
static uint64_t put_held(struct test_world *w, struct buf *rows)
{
    uint64_t id;
    w->on_relay_job = script_relay_defers;
    assert_int_equal(
        test_put(w, "alice@example.org", "x@one.two", STR("Subject: here\r\n\r\nit stood\r\n"), &id), ERR_OK);
    test_run(w, 1000);
    assert_int_equal(test_ask(w, CTL_HOLD, id, "", 0, rows), ERR_OK);
    test_kill(w);
    w->on_relay_job = script_relay_takes;
    w->n_relay_jobs = 0;
    test_start(w);
    assert_int_equal(schedule_find(&w->q->schedule, id)->state, ENTRY_HELD);
    return id;
}

/* A body that the medium has damaged for good: an attempt like others, by the schedule, and in the end its
 * sender hears of it. Nothing of it goes out. */
static void test_damaged_body(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    script_begin(&w, 94);
    buf_init(&rows, 65536);
    w.on_local_job = report_without_original;
    uint64_t id = put_held(&w, &rows);
    rot_octets(&w, STR("it stood"));
    assert_int_equal(test_ask(&w, CTL_RELEASE, id, "", 0, &rows), ERR_OK);
    test_run(&w, HOUR);
    assert_in_range(test_count(&w, EVENT_DEFERRED), 4, 9);
    assert_non_null(schedule_find(&w.q->schedule, id));
    test_run(&w, 5 * (uint64_t)DAY + 6 * HOUR);
    assert_int_equal(w.n_relay_jobs, 0);
    assert_int_equal(test_count(&w, EVENT_EXPIRED), 1);
    assert_int_equal(test_count(&w, EVENT_BOUNCED), 1);
    assert_int_equal(w.n_local_jobs, 1);
    script_expect_empty(&w);
    buf_fini(&rows);
    test_world_fini(&w);
}

/* Reads that fail for a minute delay mail and cost nothing else. */
static void test_reads_fail_for_a_while(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    script_begin(&w, 95);
    buf_init(&rows, 65536);
    uint64_t id = put_held(&w, &rows);
    struct sim_disk_fault f = {.at = 1, .count = UINT64_MAX, .kinds = 1u << DISK_READ, .err = ERR_IO};
    sim_disk_add_fault(w.medium, &f);
    assert_int_equal(test_ask(&w, CTL_RELEASE, id, "", 0, &rows), ERR_OK);
    test_run(&w, MINUTE);
    sim_disk_clear_faults(w.medium);
    assert_int_equal(w.n_relay_jobs, 0);
    assert_true(test_count(&w, EVENT_TROUBLE) >= 1);
    test_run(&w, 20 * MINUTE);
    assert_int_equal(w.n_relay_jobs, 1);
    script_expect_empty(&w);
    buf_fini(&rows);
    test_world_fini(&w);
}

/* ---- operators ---- */
static size_t count_lines(const struct buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->p[i] == '\n';
    return n;
}

static bool holds(const struct buf *b, const char *text)
{
    return str_find(buf_str(b), str_from_c(text)) != STR_NPOS;
}
static void test_operator(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    uint64_t id[3];
    script_begin(&w, 94);
    buf_init(&rows, 1024 * 1024);
    w.on_relay_job = script_relay_defers;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), &id[0]), ERR_OK);
    assert_int_equal(test_put(&w, "bob@example.org", "y@example.net", STR(MAIL), &id[1]), ERR_OK);
    test_run(&w, 3 * HOUR);
    assert_int_equal(test_put(&w, "alice@example.org", "z@three.two", STR(MAIL), &id[2]), ERR_OK);
    test_run(&w, 1000);
    static const struct {
        const char *filter;
        size_t n;
    } lists[] = {
        {"", 3},
        {"sender=alice@example.org", 2},
        {"sender=ALICE@*", 2},
        {"domain=one.two", 1},
        {"domain=*.two", 2},
        {"rcpt=y@example.net state=deferred", 1},
        {"age>2h", 2},
        {"age<2h", 1},
        {"age>2h sender=bob*", 1},
        {"state=held", 0},
        {"site=lmtp:*", 1},
        {"attempts>1", 2},
        {"kind=bounce", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        assert_int_equal(test_ask(&w, CTL_LIST, 0, lists[i].filter, 0, &rows), ERR_OK);
        assert_int_equal(count_lines(&rows), lists[i].n);
    }
    assert_int_equal(test_ask(&w, CTL_LIST, 0, "", 2, &rows), ERR_OK);
    assert_int_equal(count_lines(&rows), 2);
    assert_int_equal(test_ask(&w, CTL_LIST, 0, "domain=one.two", 0, &rows), ERR_OK);
    assert_true(holds(&rows, "come back later") && holds(&rows, "\"x@one.two\""));
    static const char *const bad[] = {"nonsense", "age=2h", "age>2",      "state=lost",
                                      "id=x",     "sender", "colour=red", "sender="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(test_ask(&w, CTL_LIST, 0, bad[i], 0, &rows), ERR_INVALID);
        assert_true(holds(&rows, "\"error\""));
    }
    assert_int_equal(test_ask(&w, CTL_SHOW, 12345, "", 0, &rows), ERR_NOTFOUND);
    assert_int_equal(test_ask(&w, CTL_STATS, 0, "", 0, &rows), ERR_OK);
    assert_int_equal(count_lines(&rows), 3);
    assert_true(holds(&rows, "\"waiting\":3") && holds(&rows, "mx:mx1.test,mx2.test"));
    /* hold, and nothing moves it */
    assert_int_equal(test_ask(&w, CTL_HOLD, 0, "domain=one.two", 0, &rows), ERR_OK);
    assert_true(holds(&rows, "\"matched\":1,\"done\":1,\"busy\":0"));
    assert_int_equal(test_ask(&w, CTL_RETRY, 0, "", 0, &rows), ERR_OK);
    assert_true(holds(&rows, "\"matched\":3,\"done\":2"));
    w.on_relay_job = script_relay_takes;
    uint64_t jobs = w.n_relay_jobs;
    test_run(&w, DAY);
    assert_int_equal(w.n_relay_jobs - jobs, 2);
    assert_int_equal(w.q->schedule.n_entries, 1);
    assert_int_equal(test_ask(&w, CTL_RELEASE, id[0], "", 0, &rows), ERR_OK);
    test_run(&w, 1000);
    script_expect_empty(&w);
    static const enum event_kind kinds[] = {EVENT_HELD, EVENT_RELEASED};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        assert_int_equal(test_count(&w, kinds[i]), 1);
    buf_fini(&rows);
    test_world_fini(&w);
}

static void one_is_tried(struct test_world *w, const struct ipc_relay_job *m, struct handle *given)
{
    uint64_t *tried = w->script;
    *tried = m->id;
    script_relay_unreachable(w, m, given);
}

/* A site that is blocked is tried with one message: the one that the operator named. */
static void test_retry_of_one(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    uint64_t ids[20], tried = 0;
    script_begin(&w, 97);
    buf_init(&rows, 65536);
    w.on_relay_job = script_relay_unreachable;
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++)
        assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), &ids[i]), ERR_OK);
    test_run(&w, HOUR);
    w.script = &tried;
    w.on_relay_job = one_is_tried;
    for (unsigned i = 0; i < ARRAY_LEN(ids); i++) {
        uint64_t jobs = w.n_relay_jobs;
        assert_int_equal(test_ask(&w, CTL_RETRY, ids[i], "", 0, &rows), ERR_OK);
        test_run(&w, 500);
        assert_int_equal(w.n_relay_jobs, jobs + 1);
        assert_int_equal(tried, ids[i]);
    }
    w.on_relay_job = script_relay_takes;
    test_run(&w, DAY);
    script_expect_empty(&w);
    buf_fini(&rows);
    test_world_fini(&w);
}

static void test_drop(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    uint64_t id;
    script_begin(&w, 95);
    buf_init(&rows, 65536);
    w.on_relay_job = script_relay_defers;
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), &id), ERR_OK);
    test_run(&w, 2 * MINUTE);
    w.on_relay_job = NULL; /* one is under way when the word comes */
    assert_int_equal(test_ask(&w, CTL_RETRY, id, "", 0, &rows), ERR_OK);
    test_run(&w, 100);
    assert_int_equal(schedule_find(&w.q->schedule, id)->state, ENTRY_ACTIVE);
    assert_int_equal(test_ask(&w, CTL_DROP, 0, "sender=alice*", 0, &rows), ERR_OK);
    assert_true(holds(&rows, "\"matched\":50,\"done\":49,\"busy\":1"));
    assert_int_equal(w.q->schedule.n_entries, 1);
    struct test_message *t = test_take(&w.relay, IPC_RELAY_JOB);
    assert_non_null(t);
    struct ipc_relay_job m;
    assert_true(ipc_decode_relay_job(test_payload(t), &m));
    test_job_done(&w.relay, m.token, 1, SMTP_AT_RCPT, script_later);
    test_message_free(t);
    test_run(&w, 1000);
    script_expect_empty(&w);
    assert_int_equal(test_count(&w, EVENT_DROPPED), 50);
    assert_int_equal(test_count(&w, EVENT_BOUNCED), 0);
    buf_fini(&rows);
    test_world_fini(&w);
}

/* A question over more entries than one slice, and more rows than one page. */
static void test_long_list(void **state)
{
    UNUSED(state);
    struct test_world w;
    struct buf rows;
    script_begin(&w, 96);
    buf_init(&rows, 8 * 1024 * 1024);
    w.on_relay_job = script_relay_unreachable;
    for (unsigned i = 0; i < 1500; i++)
        assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    assert_int_equal(test_ask(&w, CTL_LIST, 0, "", 5000, &rows), ERR_OK);
    assert_int_equal(count_lines(&rows), 1500);
    assert_int_equal(test_ask(&w, CTL_LIST, 0, "", 0, &rows), ERR_OK);
    assert_int_equal(count_lines(&rows), CTL_ROWS_DEFAULT);
    buf_fini(&rows);
    test_world_fini(&w);
}

/* ---- changes and the end ---- */

static void test_reload(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 97);
    w.on_relay_job = script_relay_defers;
    assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
    test_run(&w, 1000);
    static const struct route_rule to_hub = {.via = {.host = {"hub.test", 8}, .addr = {.port = 587}}};
    w.config2.policy.routes = &to_hub;
    w.config2.policy.n_routes = 1;
    w.env.config = &w.config2;
    queue_role.reload(w.q, &w.config);
    assert_int_equal(w.n_released, 1);
    w.on_relay_job = NULL;
    test_run(&w, 10 * MINUTE);
    struct test_message *t = test_take(&w.relay, IPC_RELAY_JOB);
    assert_non_null(t);
    struct ipc_relay_job m;
    struct hop h;
    assert_true(ipc_decode_relay_job(test_payload(t), &m));
    struct reader r = reader_of(m.hosts);
    assert_true(list_next_hop(&r, &h) && str_eq(h.name, STR("hub.test")) && h.port == 587);
    assert_true(str_eq(m.site, STR("host:hub.test:587")));
    test_message_free(t);
    test_world_fini(&w);
}

static bool is_drained(struct test_world *w)
{
    return w->n_drained > 0;
}

static void test_drain(void **state)
{
    UNUSED(state);
    for (unsigned late = 0; late < 2; late++) {
        struct test_world w;
        script_begin(&w, 98 + late);
        w.on_relay_job = NULL;
        assert_int_equal(test_put(&w, "alice@example.org", "x@one.two", STR(MAIL), NULL), ERR_OK);
        test_run(&w, 10);
        struct test_message *t = test_take(&w.relay, IPC_RELAY_JOB);
        assert_non_null(t);
        queue_role.drain(w.q, w.now_us / 1000 + 30000);
        test_run(&w, 1000);
        assert_int_equal(w.n_drained, 0); /* an attempt is out */
        struct ipc_relay_job m;
        assert_true(ipc_decode_relay_job(test_payload(t), &m));
        if (late == 0)
            test_job_done(&w.relay, m.token, 1, SMTP_AT_END, script_ok);
        test_message_free(t);
        test_until(&w, is_drained, 60 * 1000);
        assert_int_equal(w.now_us / 1000 > 30000, late == 1);
        test_kill(&w);
        w.on_relay_job = script_relay_takes;
        test_start(&w);
        test_run(&w, 10 * 1000);
        script_expect_empty(&w);
        assert_int_equal(w.n_relay_jobs, late); /* the one that was cut off is made again */
        test_world_fini(&w);
    }
}

/* Many at once: every message is delivered once, memory budgets come back. */
static void test_many(void **state)
{
    UNUSED(state);
    struct test_world w;
    script_begin(&w, 100);
    static const char *const rcpts[] = {"alice@example.org", "x@one.two", "x@example.net", "a@none.test",
                                        "bob@example.org y@three.four z@one.two"};
    unsigned n = 0;
    uint64_t want = 0;
    for (unsigned i = 0; i < 500; i++) {
        for (size_t k = 0; k < ARRAY_LEN(rcpts); k++) {
            uint64_t id = test_new_id(&w);
            test_send_put(&w, id, id, "carol@example.org", rcpts[k], STR(MAIL), NULL);
            want += k == 4 ? 3 : 1;
            n++;
        }
        if (i % 20 == 0) {
            test_run(&w, 1);
            struct test_message *m;
            while ((m = test_take(&w.smtpd, IPC_PUT_DONE)) != NULL)
                test_message_free(m);
        }
    }
    test_until(&w, script_is_empty, 10 * MINUTE);
    script_expect_empty(&w);
    assert_int_equal(w.q->count.accepted, n);
    assert_int_equal(w.q->count.delivered, want);
    test_world_fini(&w);
}
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_power_loss_after_ack),
        cmocka_unit_test(test_second_server),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_broken_disk),
        cmocka_unit_test(test_damaged_body),
        cmocka_unit_test(test_reads_fail_for_a_while),
        cmocka_unit_test(test_operator),
        cmocka_unit_test(test_retry_of_one),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_long_list),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
