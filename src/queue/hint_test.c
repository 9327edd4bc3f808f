#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "queue/hint.h"

static void reads_hints(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        uint16_t code;
        uint8_t class;
        uint32_t want;
    } rows[] = {
        {"Greylisted, please try again in 300 seconds", 450, 4, 300},
        {"Greylisting in action, please come back in 00:04:59", 451, 4, 299},
        {"Greylisting in action, please come back in 04:59", 451, 0, 299},
        {"try again in 5 minutes", 451, 4, 300},
        {"Please retry in 1 minute", 451, 4, 60},
        {"greylisted (600s)", 421, 4, 600},
        {"you have been greylisted", 450, 4, RETRY_HINT_GREYLISTED_S},
        {"GRAYLISTED", 450, 4, RETRY_HINT_GREYLISTED_S},
        {"try again in 3 seconds", 450, 4, RETRY_HINT_MIN_S},
        {"try again in 3 hours", 450, 4, RETRY_HINT_MAX_S},
        {"try again in 99999999999999999999999999 minutes", 450, 4, RETRY_HINT_MAX_S},
        {"try again later", 450, 4, 0},
        {"mailbox is full since 5 minutes", 452, 4, 0}, /* asks for nothing */
        {"try again, see rfc5321 4.5.4 or mx10 seconds", 450, 4, 0},
        {"greylisted, try again in 300 seconds", 550, 5, 0},
        {"greylisted, try again in 300 seconds", 450, 5, 0},
        {"try again in 0 seconds", 450, 4, 0},
        {"try again at 12:", 450, 4, 0},
        {"", 450, 4, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t got = report_retry_hint(rows[i].code, ESC(rows[i].class, 0, 0), str_from_c(rows[i].text));
        if (got != rows[i].want)
            fail_msg("row %zu: %u for \"%s\"", i, got, rows[i].text);
    }
}

/* Whatever is cut off, the answer stays in its bounds. */
static void stays_in_bounds(void **state)
{
    UNUSED(state);
    struct str text = STR("try again in 00:04:59 or greylisted for 7 minutes 99:99:99");
    for (size_t from = 0; from <= text.n; from++) {
        for (size_t to = from; to <= text.n; to++) {
            uint32_t s = report_retry_hint(451, ESC(4, 7, 1), str_slice(text, from, to));
            assert_true(s == 0 || (s >= RETRY_HINT_MIN_S && s <= RETRY_HINT_MAX_S));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_hints), cmocka_unit_test(stays_in_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
