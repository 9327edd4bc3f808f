/* What a process can do without goes, and comes again when it is used. */
#include "io/trim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_ = 4096, TOUCHED_MIN_KIB = 512 };

static void on_log(void *arg, struct str line)
{
    UNUSED(arg);
    UNUSED(line);
}

/* One line of smaps begins a mapping: is it code of the C library? */
static bool is_code(const char *line, uintptr_t *begin, uintptr_t *end)
{
    char access[8], path[LINE_MAX_] = "";
    return sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s %*s %*s %*s %4095s", begin, end, access, path) >= 3 &&
           strcmp(access, "r-xp") == 0 && strstr(path, "libc.so") != NULL;
}

/* Of the C library's code: what is in memory, and a look at each page where `touch` is. */
static long code_kib(bool touch)
{
    char line[LINE_MAX_];
    uintptr_t begin, end, other;
    bool is_in = false;
    long kib = 0, n;
    FILE *f = fopen("/proc/self/smaps", "re");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &other, &other) == 2) {
            is_in = is_code(line, &begin, &end);
            for (uintptr_t p = begin; is_in && touch && p < end; p += 4096)
                (void)*(const volatile char *)p;
        } else if (is_in && sscanf(line, "Rss: %ld", &n) == 1) {
            kib += n;
        }
    }
    assert_int_equal(fclose(f), 0);
    return kib;
}

struct stopper {
    struct timer timer;
    struct io_world *io;
};

static void stop(struct timer *t)
{
    io_stop(container_of(t, struct stopper, timer)->io);
}

static void code_is_given_back(void **state)
{
    UNUSED(state);
    struct log log = {.min = LOG_ERROR, .write = on_log};
    struct io_world *io = io_world_new(&log, NULL);
    assert_non_null(io);
    struct world *w = io_world_base(io);
    struct io_trim trim = {.world = NULL};
    struct stopper s = {.timer = {.fire = stop}, .io = io};
    (void)code_kib(true);
    long before = code_kib(false);
    assert_true(before >= TOUCHED_MIN_KIB);
    io_trim_start(&trim, io);
    uint64_t due = trim.timer.node.key;
    io_trim_start(&trim, io); /* nothing new */
    assert_int_equal(trim.timer.node.key, due);
    world_timer_set(w, &s.timer, due + 1);
    io_run(io);
    long after = code_kib(false);
    if (after >= before) /* what this test itself uses is there again */
        fail_msg("%ld KiB of code, and after it %ld", before, after);
    assert_true(trim.timer.is_set && trim.timer.node.key > due); /* and again some day */
    (void)code_kib(true);
    assert_true(code_kib(false) >= TOUCHED_MIN_KIB);
    world_timer_cancel(w, &trim.timer);
    io_world_del(&io);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(code_is_given_back)};
    return cmocka_run_group_tests_name("trim", tests, NULL, NULL);
}
