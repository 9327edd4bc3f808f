/* What the agent remembers: on disk, within limits, and to its end. */
#include "service/agent/agent_testing.h"

/* ---- disk ------------------------------------------------------------------------------------ */

static void a_restart_forgets_nothing(void **state)
{
    struct fixture *f = *state;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    learn(f, "c.test", "x9", TESTING, MTA_STS_TESTING);
    assert_non_null(file_find(f, "a.test"));
    assert_non_null(file_find(f, "c.test"));
    assert_null(file_find(f, "=new"));
    assert_int_equal(f->n_syncs, 2);
    end(f);
    pass_s(f, 3600);
    begin(f);
    uint64_t token = ask(f, "a.test");
    answer_txt(f, expect_rr(f, "_mta-sts.a.test"), DNS_STATUS_TEMPORARY, NULL);
    struct ipc_sts_answer m = expect_answer(f, token, MTA_STS_ENFORCE);
    assert_true(str_eq(m.id, STR("1")));
    token = ask(f, "c.test");
    answer_id(f, expect_rr(f, "_mta-sts.c.test"), "x9");
    (void)expect_answer(f, token, MTA_STS_TESTING);
    assert_int_equal(f->n_gets, 0);
}

static void put_file(struct fixture *f, const char *name, const char *text)
{
    struct file *x = file_find(f, "");
    if (x == NULL) {
        fail();
        return;
    }
    assert_true(str_to_c(str_from_c(name), x->name, sizeof x->name));
    x->n = strlen(text);
    memcpy(x->octets, text, x->n);
}

static void what_is_no_policy_on_disk_is_passed_over(void **state)
{
    static const struct {
        const char *name, *text;
    } table[] = {
        {"=new", "waxwing-mta-sts 1\nid 1\nat 1799999999\n\n" MX},
        {"not a name", "waxwing-mta-sts 1\nid 1\nat 1799999999\n\n" MX},
        {"d1.test", ""},
        {"d2.test", "waxwing-mta-sts 2\nid 1\nat 1799999999\n\n" MX},
        {"d3.test", "waxwing-mta-sts 1\nid 1\nat 1799999999\n" MX},
        {"d4.test", "waxwing-mta-sts 1\nid 1\nat -1\n\n" MX},
        {"d5.test", "waxwing-mta-sts 1\nid 1\nat 99999999999999999999\n\n" MX},
        {"d6.test", "waxwing-mta-sts 1\nid \nat 1799999999\n\n" MX},
        {"d7.test", "waxwing-mta-sts 1\nid 123456789012345678901234567890123\nat 1799999999\n\n" MX},
        {"d8.test", "waxwing-mta-sts 1\nid 1\nat 1799999999\n\nversion: STSv1\n"},
        {"d9.test", "waxwing-mta-sts 1\nid 1\nat 1799999999\n\n"},
        {"good.test", "waxwing-mta-sts 1\nid 1\nat 1799999999\n\n" MX},
    };
    struct fixture *f = *state;
    end(f);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        put_file(f, table[i].name, table[i].text);
    begin(f);
    assert_int_equal(f->self->n_kept, 1);
    assert_non_null(strstr(f->said, "policies=1 unreadable=10"));
}

/* The mail goes on, and so does the policy as long as the process lives. */
static void a_full_disk_is_said_once(void **state)
{
    struct fixture *f = *state;
    f->disk_fails = ERR_NOSPACE;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    learn(f, "b.test", "1", MX, MTA_STS_ENFORCE);
    const char *first = strstr(f->said, "mta_sts.not_saved");
    assert_non_null(first);
    assert_null(strstr(first + 1, "mta_sts.not_saved"));
    f->disk_fails = ERR_OK;
    learn(f, "c.test", "1", MX, MTA_STS_ENFORCE);
    assert_non_null(file_find(f, "c.test"));
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_ENFORCE);
}

static void without_a_folder_it_works_on(void **state)
{
    struct fixture *f = *state;
    end(f);
    f->env.root = NULL;
    begin(f);
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_ENFORCE);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void many_wait_for_their_turn(void **state)
{
    enum { N = MTA_STS_ASKS_MAX + 10 };
    struct fixture *f = *state;
    for (size_t i = 0; i < N; i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        (void)ask(f, domain);
    }
    assert_int_equal(f->lookup.n_sent, MTA_STS_ASKS_MAX);
    for (size_t i = 0; i < N; i++) {
        char name[64];
        assert_true(snprintf(name, sizeof name, "_mta-sts.d%zu.test", i) > 0);
        answer_txt(f, expect_rr(f, name), DNS_STATUS_NXDOMAIN, NULL);
        (void)expect_answer(f, i + 1, MTA_STS_NONE);
    }
    expect_no_question(f);
    assert_int_equal(f->self->n_asking, 0);
}

/* Policy hosts that never answer hold up neither domains without a policy, nor for long those with one. */
static void slow_hosts_take_no_hostages(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < MTA_STS_FETCHES_MAX; i++) {
        char domain[32];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        (void)ask(f, domain);
        up_to_get(f, domain, "1");
    }
    uint64_t token = ask(f, "none.test");
    answer_txt(f, expect_rr(f, "_mta-sts.none.test"), DNS_STATUS_NXDOMAIN, NULL);
    (void)expect_answer(f, token, MTA_STS_NONE);
    uint64_t first = ask(f, "first.test"), second = ask(f, "second.test");
    answer_id(f, expect_rr(f, "_mta-sts.first.test"), "1");
    answer_id(f, expect_rr(f, "_mta-sts.second.test"), "1");
    expect_no_question(f); /* no place yet */
    answer_http(f, &(struct http_answer){.status = HTTP_TIMEOUT, .why = STR("slow")});
    (void)expect_answer(f, MTA_STS_FETCHES_MAX, MTA_STS_NONE);
    answer_host(f, expect_host(f, "mta-sts.first.test"), DNS_STATUS_OK);
    pass_s(f, MTA_STS_FETCH_MS / 1000);
    turn(f);
    (void)expect_answer(f, second, MTA_STS_NONE);
    answer_policy(f, MX);
    (void)expect_answer(f, first, MTA_STS_ENFORCE);
    assert_int_equal(f->self->n_fetching, MTA_STS_FETCHES_MAX - 1);
}

static void the_least_used_goes_first(void **state)
{
    struct fixture *f = *state;
    f->self->bare_max = 2;
    f->self->kept_max = 2;
    learn(f, "a.test", "1", MX, MTA_STS_ENFORCE);
    learn(f, "b.test", "1", MX, MTA_STS_ENFORCE);
    for (size_t i = 0; i < 5; i++) { /* these push no policy out */
        char domain[32], name[64];
        assert_true(snprintf(domain, sizeof domain, "d%zu.test", i) > 0);
        assert_true(snprintf(name, sizeof name, "_mta-sts.%s", domain) > 0);
        uint64_t token = ask(f, domain);
        answer_txt(f, expect_rr(f, name), DNS_STATUS_NXDOMAIN, NULL);
        (void)expect_answer(f, token, MTA_STS_NONE);
    }
    assert_int_equal(f->self->n_bare, 2);
    (void)expect_answer(f, ask(f, "a.test"), MTA_STS_ENFORCE);
    learn(f, "c.test", "1", MX, MTA_STS_ENFORCE);
    assert_int_equal(f->self->n_kept, 2);
    assert_null(file_find(f, "b.test"));
    assert_non_null(file_find(f, "a.test"));
    assert_non_null(file_find(f, "c.test"));
}

/* All places are taken by domains at work: the answer is none for a moment, and no failure. */
static void no_room_is_no_end(void **state)
{
    struct fixture *f = *state;
    f->self->bare_max = 1;
    (void)ask(f, "a.test");
    uint64_t token = ask(f, "b.test");
    assert_true(expect_answer(f, token, MTA_STS_NONE).ttl_s <= 5);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void a_reload_brings_other_anchors(void **state)
{
    struct fixture *f = *state;
    assert_true(str_eq(f->anchors, STR("anchors")));
    f->env.config = &f->config2;
    agent_role.reload(f->self, &f->config);
    assert_true(str_eq(f->anchors, STR("others")));
    assert_int_equal(f->n_released, 1);
}

static void the_end_waits_for_the_disk(void **state)
{
    struct fixture *f = *state;
    f->disk_waits = true;
    uint64_t token = ask(f, "a.test");
    up_to_get(f, "a.test", "1");
    answer_policy(f, MX);
    (void)expect_answer(f, token, MTA_STS_ENFORCE);
    agent_role.drain(f->self, f->now_ms + 1000);
    assert_int_equal(f->n_drained, 0);
    f->disk_waits = false;
    turn(f);
    assert_int_equal(f->n_drained, 1);
    assert_non_null(file_find(f, "a.test"));
}

static void at_its_deadline_it_ends(void **state)
{
    struct fixture *f = *state;
    f->disk_waits = true;
    (void)ask(f, "a.test");
    up_to_get(f, "a.test", "1");
    answer_policy(f, MX);
    agent_role.drain(f->self, f->now_ms + 1000);
    f->self->drain_timer.fire(&f->self->drain_timer);
    assert_int_equal(f->n_drained, 1);
    f->disk_waits = false;
    turn(f);
    assert_int_equal(f->n_drained, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_restart_forgets_nothing),     T(what_is_no_policy_on_disk_is_passed_over),
        T(a_full_disk_is_said_once),      T(without_a_folder_it_works_on),
        T(many_wait_for_their_turn),      T(slow_hosts_take_no_hostages),
        T(the_least_used_goes_first),     T(no_room_is_no_end),
        T(a_reload_brings_other_anchors), T(the_end_waits_for_the_disk),
        T(at_its_deadline_it_ends),
    };
    return cmocka_run_group_tests_name("sts_store", tests, NULL, NULL);
}
