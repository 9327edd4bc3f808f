#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wire/downgrade_testing.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Published messages with malformed MIME and with UTF-8 header fields, read in place when they are there:
 * each is converted for both needs, parses as before, and its leaves decode to what they were. */

enum { FILE_MAX = 1 << 20, PATH_MAX_OURS = 1024, FILES_MIN = 50, CHANGED_MIN = 5 };

static const char *const folders[] = {"mime-malformed/dovecot", "mime-malformed/mikel-mail",
                                      "eai-mikel-mail"};

/* What can't be converted for a host without 8BITMIME, and why. */
static const struct {
    const char *name;
    enum downgrade_status status;
    const char *why;
} refused[] = {
    /* written for SMTPUTF8, as its From and To show: a host without it could not get it anyhow */
    {"utf8_headers.eml", DOWNGRADE_IMPOSSIBLE, "header fields with octets outside ASCII"},
    /* raw octets in Subject, From or Reply-To, in no character set that anything names: RFC 2047 words need
       one */
    {"content_transfer_encoding_empty.eml", DOWNGRADE_IMPOSSIBLE, "header fields with octets outside ASCII"},
    {"encoding_madness.eml", DOWNGRADE_IMPOSSIBLE, "header fields with octets outside ASCII"},
    {"invalid_subject_characters.eml", DOWNGRADE_IMPOSSIBLE, "header fields with octets outside ASCII"},
    {"must_supply_encoding.eml", DOWNGRADE_IMPOSSIBLE, "header fields with octets outside ASCII"},
    {"trademark_character_in_subject.eml", DOWNGRADE_IMPOSSIBLE, "header fields with octets outside ASCII"},
};

static const char *suite_path(char *mem, const char *folder, const char *name)
{
    const char *suites = getenv("WAXWING_SUITES");
    int n = snprintf(mem, PATH_MAX_OURS, "%s/%s/%s",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites", folder, name);
    must(n > 0 && n < PATH_MAX_OURS);
    return mem;
}

/* The file with CRLF for a bare LF, as it would come in by SMTP. */
static void read_message(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buf_init(out, 2 * FILE_MAX);
    int last = 0;
    for (int c; (c = fgetc(f)) != EOF; last = c) {
        if (c == '\n' && last != '\r')
            buf_putc(out, '\r');
        buf_putc(out, (char)c);
    }
    (void)fclose(f);
    assert_false(out->failed);
}

struct figures {
    size_t n_files, n_changed, n_as_is, n_refused;
};

static void check_result(const char *name, unsigned need, struct str before, const struct conversion *c,
                         struct figures *f)
{
    struct str after = buf_str(&c->out);
    enum mime_trouble trouble_before, trouble_after;
    f->n_changed += c->status == DOWNGRADE_OK;
    f->n_as_is += c->status == DOWNGRADE_NOT_NEEDED;
    if (c->status == DOWNGRADE_NOT_NEEDED)
        assert_true(str_eq(before, after));
    if (first_forbidden(after, need) != STR_NPOS)
        print_message("# %s: octet %zu may not go out\n", name, first_forbidden(after, need));
    assert_int_equal(first_forbidden(after, need), STR_NPOS);
    struct leaves *a = leaves_new(before, &trouble_before);
    struct leaves *b = leaves_new(after, &trouble_after);
    assert_int_equal(trouble_before, trouble_after);
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        if (!leaf_same(a, b, i))
            print_message("# %s: leaf %zu is not what it was\n", name, i);
        assert_true(leaf_same(a, b, i));
    }
    leaves_del(a);
    leaves_del(b);
}

static void check_refusal(const char *name, const struct conversion *c, struct figures *f)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        if (str_eq(str_from_c(refused[i].name), str_from_c(name))) {
            assert_int_equal(c->status, refused[i].status);
            assert_true(str_find(buf_str(&c->why), str_from_c(refused[i].why)) != STR_NPOS);
            f->n_refused++;
            return;
        }
    }
    print_message("# %s is refused: %.*s\n", name, STR_FMT(buf_str(&c->why)));
    assert_true(false);
}

static void check_file(const char *folder, const char *name, struct figures *f)
{
    static const unsigned needs[] = {DOWNGRADE_8BIT, DOWNGRADE_BINARY, DOWNGRADE_8BIT | DOWNGRADE_BINARY};
    char path[PATH_MAX_OURS];
    struct buf message;
    read_message(suite_path(path, folder, name), &message);
    f->n_files++;
    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        struct conversion whole, parts;
        conversion_run(&whole, needs[i], buf_str(&message), FILE_MAX, 65536);
        conversion_run(&parts, needs[i], buf_str(&message), 7, 100);
        assert_int_equal(whole.status, parts.status);
        assert_true(str_eq(buf_str(&whole.out), buf_str(&parts.out)));
        if (whole.status <= DOWNGRADE_NOT_NEEDED)
            check_result(name, needs[i], buf_str(&message), &whole, f);
        else
            check_refusal(name, &whole, f);
        conversion_fini(&whole);
        conversion_fini(&parts);
    }
    buf_fini(&message);
}

static void every_message_is_converted(void **state)
{
    UNUSED(state);
    struct figures f = {0};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char path[PATH_MAX_OURS];
        DIR *d = opendir(suite_path(path, folders[i], ""));
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            if (str_ends(str_from_c(e->d_name), STR(".eml")))
                check_file(folders[i], e->d_name, &f);
        }
        (void)closedir(d);
    }
    print_message("# %zu messages, three needs each: %zu converted, %zu as they are, %zu refused\n",
                  f.n_files, f.n_changed, f.n_as_is, f.n_refused);
    assert_true(f.n_files >= FILES_MIN);
    assert_true(f.n_changed >= CHANGED_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_message_is_converted)};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        char path[PATH_MAX_OURS];
        DIR *d = opendir(suite_path(path, folders[i], ""));
        if (d == NULL) {
            (void)printf("1..0 # SKIP the suite %s is not here (set WAXWING_SUITES)\n", folders[i]);
            return 0;
        }
        (void)closedir(d);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
