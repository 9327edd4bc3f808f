#include "service/keys/guess.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct fixture {
    struct world world; /* first */
    uint64_t now_ms;
    struct guesses *g;
};

static uint64_t now_ms(const struct world *w)
{
    return ((const struct fixture *)(const void *)w)->now_ms;
}

static void fill_random(struct world *w, void *out, size_t n)
{
    UNUSED(w);
    memset(out, 0x42, n);
}

static const struct world_ops ops = {.now_ms = now_ms, .random = fill_random};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.world = {&ops, NULL}, .now_ms = 1000};
    f.g = guesses_new(&f.world);
    *state = &f;
    return f.g == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    guesses_del(&f->g);
    return 0;
}

static bool wrong(struct fixture *f, const char *user, const char *client)
{
    struct guess x;
    return guess_begin(f->g, str_from_c(user), str_from_c(client), &x);
}

static bool right(struct fixture *f, const char *user, const char *client)
{
    struct guess x;
    if (!guess_begin(f->g, str_from_c(user), str_from_c(client), &x))
        return false;
    guess_right(f->g, &x);
    return true;
}

static const char *address(unsigned i)
{
    static char text[32];
    (void)snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
    return text;
}

static void test_user(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < GUESS_USER_BURST; i++)
        assert_true(wrong(f, "joe", address(i)));
    for (unsigned i = 0; i < 100; i++) /* from wherever */
        assert_false(wrong(f, "joe", address(1000 + i)));
    assert_true(wrong(f, "ann", address(1)));
    f->now_ms += GUESS_USER_REFILL_MS - 1;
    assert_false(wrong(f, "joe", address(1)));
    f->now_ms++;
    assert_true(wrong(f, "joe", address(1)));
    assert_false(wrong(f, "joe", address(1)));
    f->now_ms += (uint64_t)2 * GUESS_USER_BURST * GUESS_USER_REFILL_MS; /* full, and no more than that */
    for (unsigned i = 0; i < GUESS_USER_BURST; i++)
        assert_true(wrong(f, "joe", address(i)));
    assert_false(wrong(f, "joe", address(50)));
}

static void test_client(void **state)
{
    struct fixture *f = *state;
    char user[16];
    for (unsigned i = 0; i < GUESS_CLIENT_BURST; i++) {
        (void)snprintf(user, sizeof user, "u%u", i);
        assert_true(wrong(f, user, "192.0.2.1"));
    }
    assert_false(wrong(f, "another", "192.0.2.1"));
    assert_true(wrong(f, "another", "192.0.2.2"));
    f->now_ms += GUESS_CLIENT_REFILL_MS;
    assert_true(wrong(f, "another", "192.0.2.1"));
    assert_false(wrong(f, "another", "192.0.2.1"));
}

/* An IPv6 network is one client; what is no address has no limit as a client. */
static void test_networks(void **state)
{
    struct fixture *f = *state;
    char user[16], client[48];
    for (unsigned i = 0; i < GUESS_CLIENT_BURST; i++) {
        (void)snprintf(user, sizeof user, "u%u", i);
        (void)snprintf(client, sizeof client, "2001:db8:1:2::%x", i);
        assert_true(wrong(f, user, client));
    }
    assert_false(wrong(f, "x", "2001:db8:1:2:ffff::1"));
    assert_true(wrong(f, "x", "2001:db8:1:3::1"));
    for (unsigned i = 0; i < 2 * GUESS_CLIENT_BURST; i++) {
        (void)snprintf(user, sizeof user, "v%u", i);
        assert_true(wrong(f, user, "unix"));
        assert_true(wrong(f, user, ""));
    }
}

static void test_right_costs_nothing(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 1000; i++)
        assert_true(right(f, "joe", "192.0.2.1"));
    for (unsigned i = 0; i < GUESS_USER_BURST; i++) {
        assert_true(wrong(f, "joe", "192.0.2.1"));
        assert_true(i == GUESS_USER_BURST - 1 || right(f, "joe", "192.0.2.1"));
    }
    assert_false(right(f, "joe", "192.0.2.1")); /* is not looked at any more */
    struct guess x;
    assert_true(guess_begin(f->g, STR("ann"), STR("192.0.2.3"), &x));
    guess_undo(f->g, &x);
    guess_undo(f->g, &x); /* once too often: no more than full */
    unsigned n = 0;
    while (wrong(f, "ann", address(n)))
        n++;
    assert_int_equal(n, GUESS_USER_BURST);
}

/* Guesses that are under way count, too. */
static void test_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct guess x[GUESS_USER_BURST], more;
    for (unsigned i = 0; i < GUESS_USER_BURST; i++)
        assert_true(guess_begin(f->g, STR("joe"), str_from_c(address(i)), &x[i]));
    assert_false(guess_begin(f->g, STR("joe"), STR("10.9.9.9"), &more));
    guess_right(f->g, &x[3]);
    assert_true(guess_begin(f->g, STR("joe"), STR("10.9.9.9"), &more));
}

/* Strangers use up the user's allowance: where he was right before he still gets in. */
static void test_known(void **state)
{
    struct fixture *f = *state;
    assert_true(right(f, "joe", "192.0.2.7"));
    unsigned n = 0;
    while (wrong(f, "joe", address(n)))
        n++;
    assert_int_equal(n, GUESS_USER_BURST);
    assert_true(right(f, "joe", "192.0.2.7"));
    assert_false(right(f, "joe", "192.0.2.8"));
    n = 0;
    while (wrong(f, "joe", "192.0.2.7")) /* with an allowance of its own */
        n++;
    assert_int_equal(n, GUESS_USER_BURST);
    f->now_ms += (uint64_t)GUESS_KNOWN_DAYS * 24 * 3600 * 1000 + 1;
    n = 0;
    while (wrong(f, "joe", address(n)))
        n++;
    assert_int_equal(n, GUESS_USER_BURST);
    assert_false(right(f, "joe", "192.0.2.7")); /* forgotten */
}

/* Far more users than there are places: memory stays, and who is being guessed at now is not forgotten for
 * those who were tried once. */
static void test_full(void **state)
{
    struct fixture *f = *state;
    char user[16];
    for (unsigned i = 0; i < GUESS_USER_BURST; i++)
        assert_true(wrong(f, "joe", address(i)));
    for (unsigned i = 0; i < 200000; i++) {
        (void)snprintf(user, sizeof user, "u%u", i);
        assert_true(wrong(f, user, "unix"));
    }
    assert_false(wrong(f, "joe", address(1)));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_user, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client, setup, teardown),
        cmocka_unit_test_setup_teardown(test_networks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_right_costs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
    };
    return cmocka_run_group_tests_name("guess", tests, NULL, NULL);
}
