/* service/local/verdict_test.c: what the end of a program says of the delivery. */
#include "service/local/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>

/* clang-format off */
static const struct {
    struct program_end end;
    struct str output;
    enum result_kind kind;
    struct esc esc;
    const char *text;
} rows[] = {
    {{.status = 0}, STR_INIT(""), RESULT_OK, {2, 0, 0}, "delivered to the program"},
    {{.status = 0}, STR_INIT("5.1.1 not now\n"), RESULT_OK, {2, 0, 0}, "delivered to the program"},
    {{.status = 1}, STR_INIT(""), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1"},
    {{.status = 255}, STR_INIT("oh  no\r\n\tmore\n\n"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 255: oh no more"},
    {{.status = 67}, STR_INIT(""), RESULT_PERMANENT, {5, 1, 1}, "the program ended with status 67 (user unknown)"},
    {{.status = 75}, STR_INIT("wait"), RESULT_TEMPORARY, {4, 3, 0}, "the program ended with status 75 (temporary failure): wait"},
    {{.status = 71}, STR_INIT(""), RESULT_TEMPORARY, {4, 3, 0}, "the program ended with status 71 (system resource problem)"},
    {{.status = 74}, STR_INIT(""), RESULT_TEMPORARY, {4, 3, 0}, "the program ended with status 74 (input/output error)"},
    {{.status = 77}, STR_INIT(""), RESULT_PERMANENT, {5, 7, 0}, "the program ended with status 77 (permission denied)"},
    {{.status = 78}, STR_INIT(""), RESULT_PERMANENT, {5, 3, 5}, "the program ended with status 78 (local configuration error)"},
    /* its own code goes before the status */
    {{.status = 75}, STR_INIT("5.7.1 never\n"), RESULT_PERMANENT, {5, 7, 1}, "never"},
    {{.status = 1}, STR_INIT(" 4.2.2 over quota"), RESULT_TEMPORARY, {4, 2, 2}, "over quota"},
    {{.status = 1}, STR_INIT("4.2.2\r\nover\nquota"), RESULT_TEMPORARY, {4, 2, 2}, "over quota"},
    {{.status = 1}, STR_INIT("4.2.2"), RESULT_TEMPORARY, {4, 2, 2}, "the program ended with status 1"},
    {{.status = 75}, STR_INIT("5.2.2"), RESULT_PERMANENT, {5, 2, 2}, "the program ended with status 75 (temporary failure)"},
    {{.status = 1}, STR_INIT("2.0.0 fine"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1: 2.0.0 fine"},
    {{.status = 1}, STR_INIT("4.2.2over"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1: 4.2.2over"},
    {{.status = 1}, STR_INIT("x 4.2.2 over"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1: x 4.2.2 over"},
    /* ends that are no exits */
    {{.signo = SIGKILL}, STR_INIT("5.1.1 half"), RESULT_TEMPORARY, {4, 3, 0}, "the program was ended by signal 9: 5.1.1 half"},
    {{.err = ERR_NOTFOUND}, STR_INIT(""), RESULT_TEMPORARY, {4, 3, 0},
     "the program could not be executed: it, or what it is run by, does not exist"},
    {{.err = ERR_DENIED}, STR_INIT("x"), RESULT_TEMPORARY, {4, 3, 0}, "the program could not be executed: permission denied"},
    /* octets */
    {{.status = 1}, STR_INIT("a\0b\x1b[2J\x7f" "c\xff"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1: a?b?[2J?c?"},
    {{.status = 1}, STR_INIT("nicht m\xc3\xb6glich"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1: nicht m\xc3\xb6glich"},
    {{.status = 1}, STR_INIT("\xe2\x80\xae\xc2\x85"), RESULT_PERMANENT, {5, 3, 0}, "the program ended with status 1: ??"},
};
/* clang-format on */

static void each_end(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[RESULT_TEXT_MAX];
        struct buf text;
        struct job_result r;
        buf_init_fixed(&text, mem, sizeof mem);
        verdict_of(&rows[i].end, rows[i].output, &text, &r);
        if (r.kind != rows[i].kind || !str_eq(r.text, str_from_c(rows[i].text)) ||
            r.esc.class != rows[i].esc.class || r.esc.subject != rows[i].esc.subject ||
            r.esc.detail != rows[i].esc.detail)
            fail_msg("row %zu: kind %d esc %d.%d.%d text %.*s", i, r.kind, r.esc.class, r.esc.subject,
                     r.esc.detail, STR_FMT(r.text));
    }
}

static void each_other_status_is_for_good(void **state)
{
    UNUSED(state);
    for (int status = 1; status < 256; status++) {
        char mem[RESULT_TEXT_MAX];
        struct buf text;
        struct job_result r;
        const struct program_end end = {.status = status};
        buf_init_fixed(&text, mem, sizeof mem);
        verdict_of(&end, STR_NIL, &text, &r);
        bool is_temporary = status == 71 || status == 74 || status == 75;
        assert_int_equal(r.kind, is_temporary ? RESULT_TEMPORARY : RESULT_PERMANENT);
        assert_int_equal(r.esc.class, is_temporary ? 4 : 5);
    }
}

/* The text is cut between characters, wherever they fall. */
static void much_output_is_cut(void **state)
{
    UNUSED(state);
    char mem[RESULT_TEXT_MAX], out[VERDICT_OUTPUT_MAX];
    for (size_t shift = 0; shift < 3; shift++) {
        struct buf text, output;
        struct job_result r;
        const struct program_end end = {.status = 1};
        buf_init_fixed(&output, out, sizeof out);
        for (size_t i = 0; i < shift; i++)
            buf_putc(&output, 'x');
        while (output.n + 3 <= output.max)
            buf_puts(&output, "\xe2\x82\xac");
        buf_init_fixed(&text, mem, sizeof mem);
        verdict_of(&end, buf_str(&output), &text, &r);
        assert_true(r.text.n <= RESULT_TEXT_MAX && r.text.n > RESULT_TEXT_MAX - 3);
        assert_false(text.failed);
        assert_true(str_ends(r.text, STR("\xe2\x82\xac")));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_end),
        cmocka_unit_test(each_other_status_is_for_good),
        cmocka_unit_test(much_output_is_cut),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
