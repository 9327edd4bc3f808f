#include "service/admin/admin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SECOND = 1000, HOUR = 3600 * SECOND };

static const int64_t day_ms = 24 * (int64_t)HOUR, start_ms = 20000 * 24 * (int64_t)HOUR;

static void a_clock_that_goes_right(void **state)
{
    UNUSED(state);
    struct admin_clock c = {start_ms, 5};
    for (int64_t h = 1; h < 100; h++)
        assert_int_equal(admin_careful_wall_ms(&c, start_ms + h * HOUR, 5 + (uint64_t)h * HOUR),
                         start_ms + h * HOUR);
}

static void a_clock_that_jumps_ahead(void **state)
{
    UNUSED(state);
    struct admin_clock c = {start_ms, 5};
    uint64_t now_ms = 5 + HOUR;
    assert_int_equal(admin_careful_wall_ms(&c, start_ms + 3650 * day_ms, now_ms), start_ms + 2 * HOUR);
    now_ms += HOUR; /* it is right again */
    assert_int_equal(admin_careful_wall_ms(&c, start_ms + 2 * HOUR, now_ms), start_ms + 2 * HOUR);
    now_ms += HOUR; /* set right after it had been behind for a day: caught up with in a day */
    int64_t seen = admin_careful_wall_ms(&c, start_ms + 3 * HOUR + day_ms, now_ms);
    assert_int_equal(seen, start_ms + 4 * HOUR);
    int64_t right = start_ms + 3 * HOUR + day_ms;
    for (unsigned h = 0; h < 24 && seen != right; h++) {
        now_ms += HOUR;
        right += HOUR;
        seen = admin_careful_wall_ms(&c, right, now_ms);
    }
    assert_int_equal(seen, right);
}

static void a_clock_that_goes_back(void **state)
{
    UNUSED(state);
    struct admin_clock c = {start_ms, 5};
    assert_int_equal(admin_careful_wall_ms(&c, start_ms - day_ms, 5 + HOUR), start_ms - day_ms);
    assert_int_equal(admin_careful_wall_ms(&c, start_ms - day_ms + HOUR, 5 + 2 * HOUR),
                     start_ms - day_ms + HOUR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_goes_right),
        cmocka_unit_test(a_clock_that_jumps_ahead),
        cmocka_unit_test(a_clock_that_goes_back),
    };
    return cmocka_run_group_tests_name("admin", tests, NULL, NULL);
}
