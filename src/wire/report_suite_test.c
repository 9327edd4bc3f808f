#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "wire/arf.h"
#include "wire/dsn_parse.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Published reports, read in place when they are there. For delivery reports there are no expectation files:
 * each line of a file that is a field of a recipient has to be found again in order; that nothing is made up
 * follows from the counts. Feedback reports have one file each of what another reader made of them. */

enum { FILE_MAX = 1 << 20, NAME_MAX_OURS = 1024, REPORTS_MIN = 34, FIELDS_MIN = 120, ARF_FILES = 5 };

static const char *const dsn_folders[] = {"dsn-sisimai", "dsn-mikel-mail"};

/* Files named as reports that have no part to be read by machines. */
static const struct {
    const char *name;
    const char *why;
} no_reports[] = {
    {"rfc3464-04.eml", "a multipart without any delimiter"},
    {"rfc3464-06.eml", "a multipart without any delimiter"},
    {"rfc3464-34.eml", "text/plain with the fields in it, the multipart behind"},
    {"rfc3464-35.eml", "its delimiters are indented, as in the appendix of the RFC it was copied from"},
    {"rfc3464-37.eml", "text/plain"},
    {"rfc3464-38.eml", "text/plain"},
    {"rfc3464-39.eml", "text/plain"},
};

static const char *suite_path(char *mem, const char *folder, const char *name)
{
    const char *suites = getenv("WAXWING_SUITES");
    int n = snprintf(mem, NAME_MAX_OURS, "%s/%s/%s",
                     suites != NULL ? suites : WAXWING_ROOT "/../shared/suites", folder, name);
    must(n > 0 && n < NAME_MAX_OURS);
    return mem;
}

static struct str read_file(const char *path, char *mem)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(mem, 1, FILE_MAX, f);
    (void)fclose(f);
    assert_true(n < FILE_MAX);
    struct str text = str_of(mem, n);
    if (str_starts(text, STR("From "))) /* the line that a mailbox puts before a message */
        (void)str_cut(&text, '\n');
    return text;
}

static struct mime_report *gather(struct str text)
{
    struct mime_report *r = mime_report_new();
    assert_non_null(r);
    mime_report_put(r, text);
    mime_report_end(r);
    return r;
}

static bool is_known_as_none(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(no_reports); i++) {
        if (str_eq(str_from_c(no_reports[i].name), str_from_c(name)))
            return true;
    }
    return str_starts(str_from_c(name), STR("rfc3834")); /* automatic replies (RFC 3834), no reports */
}

/* The value of the n-th line of the file that begins with name (a colon included), the line unfolded not. */
static bool nth_line(struct str text, struct str name, size_t n, struct str *out)
{
    while (text.n > 0) {
        struct str line = str_cut(&text, '\n');
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (str_istarts(line, name) && n-- == 0) {
            *out = str_trim(str_skip(line, name.n));
            return true;
        }
    }
    return false;
}

static size_t check_rcpts(const char *name, struct str text, const struct dsn_report *d)
{
    struct str value;
    size_t n_fields = 0;
    for (size_t i = 0; i < d->n_rcpts; i++) {
        const struct dsn_report_rcpt *r = &d->rcpts[i];
        char mem[16];
        struct buf status;
        buf_init_fixed(&status, mem, sizeof mem);
        esc_format(r->status, &status);
        bool has_final = nth_line(text, STR("Final-Recipient:"), i, &value);
        bool is_good = has_final && r->final_rcpt.n > 0 && str_find(value, r->final_rcpt) != STR_NPOS;
        /* "deliverable" is no action of RFC 3464 2.3.3 (a probe's answer of one host) */
        is_good &= nth_line(text, STR("Action:"), i, &value) &&
                   (str_istarts(value, str_from_c(dsn_report_action_name(r->action))));
        is_good &= r->action != DSN_REPORT_NO_ACTION || str_ieq(value, STR("deliverable"));
        is_good &=
            nth_line(text, STR("Status:"), i, &value) && status.n > 0 && str_starts(value, buf_str(&status));
        if (!is_good)
            print_message("# %s, recipient %zu is not as in the file: <%.*s> %s %.*s\n", name, i,
                          STR_FMT(r->final_rcpt), dsn_report_action_name(r->action),
                          STR_FMT(buf_str(&status)));
        assert_true(is_good);
        n_fields += 3;
    }
    /* no recipient of the file is missing: what is quoted in an enclosed message stands behind all others */
    size_t n_lines = 0;
    struct mime_report *whole = gather(text);
    while (nth_line(mime_report_fields(whole), STR("Final-Recipient:"), n_lines, &value))
        n_lines++;
    mime_report_del(&whole);
    assert_int_equal(d->n_rcpts, n_lines);
    return n_fields;
}

static void delivery_reports_are_read(void **state)
{
    UNUSED(state);
    struct dsn_report *d = mem_must_new(struct dsn_report);
    char *mem = mem_must_alloc(FILE_MAX);
    size_t n_reports = 0, n_none = 0, n_fields = 0, n_ids = 0;
    for (size_t i = 0; i < ARRAY_LEN(dsn_folders); i++) {
        char path[NAME_MAX_OURS];
        DIR *dir = opendir(suite_path(path, dsn_folders[i], ""));
        assert_non_null(dir);
        for (struct dirent *e; (e = readdir(dir)) != NULL;) {
            if (!str_ends(str_from_c(e->d_name), STR(".eml")))
                continue;
            struct str text = read_file(suite_path(path, dsn_folders[i], e->d_name), mem);
            struct mime_report *r = gather(text);
            bool is_report = dsn_parse(r, d);
            if (is_report == is_known_as_none(e->d_name))
                print_message("# %s is %s report\n", e->d_name, is_report ? "a" : "no");
            assert_int_equal(is_report, !is_known_as_none(e->d_name));
            n_none += !is_report;
            n_reports += is_report;
            n_fields += is_report ? check_rcpts(e->d_name, text, d) : 0;
            n_ids += is_report && d->message_id.n > 0;
            mime_report_del(&r);
        }
        (void)closedir(dir);
    }
    print_message(
        "# %zu reports, %zu fields of recipients, %zu with the original's Message-ID; %zu are no reports\n",
        n_reports, n_fields, n_ids, n_none);
    assert_true(n_reports >= REPORTS_MIN && n_fields >= FIELDS_MIN);
    mem_free(mem);
    mem_free(d);
}

/* "key": value, of a JSON file with one object: the value's text without quotes, "null" for null. */
static struct str json_value(struct str json, const char *key)
{
    char name[64];
    int n = snprintf(name, sizeof name, "\"%s\":", key);
    size_t at = str_find(json, str_of(name, (size_t)n));
    assert_true(at != STR_NPOS);
    json = str_skip(json, at + (size_t)n);
    struct str line = json;
    line = str_trim(str_cut(&line, '\n'));
    if (str_ends(line, STR(",")))
        line.n--;
    if (str_eq(line, STR("["))) { /* its first item stands in the next line */
        (void)str_cut(&json, '\n');
        line = str_trim(str_cut(&json, '\n'));
        if (str_ends(line, STR(",")))
            line.n--;
    }
    if (str_eq(line, STR("[]")))
        return STR("null");
    return str_starts(line, STR("\"")) ? str_slice(line, 1, line.n - 1) : line;
}

/* The other reader keeps "<" and ">", and writes names of its own for words: compared without "-", case
 * folded. */
static bool same_value(struct str json, struct str ours)
{
    if (str_eq(json, STR("null")))
        return ours.n == 0;
    if (str_starts(json, STR("<")))
        json = str_slice(json, 1, json.n - 1);
    size_t k = 0;
    for (size_t i = 0; i < ours.n; i++) {
        if (ours.p[i] == '-' && (k == json.n || json.p[k] != '-'))
            continue;
        if (k == json.n || ascii_lower(json.p[k++]) != ascii_lower(ours.p[i]))
            return false;
    }
    return k == json.n;
}

static void feedback_reports_are_as_another_reads_them(void **state)
{
    UNUSED(state);
    struct arf_report *a = mem_must_new(struct arf_report);
    char *mem = mem_must_alloc(FILE_MAX), *json_mem = mem_must_alloc(FILE_MAX);
    for (unsigned i = 1; i <= ARF_FILES; i++) {
        char path[NAME_MAX_OURS], name[16];
        (void)snprintf(name, sizeof name, "%03u.eml", i);
        struct mime_report *r = gather(read_file(suite_path(path, "arf-reports", name), mem));
        (void)snprintf(name, sizeof name, "%03u.json", i);
        struct str json = read_file(suite_path(path, "arf-reports", name), json_mem);
        assert_true(arf_parse(r, a));
        const struct {
            const char *key;
            struct str ours;
        } fields[] = {
            {"feedback_type", a->feedback_type},
            {"user_agent", a->user_agent},
            {"version", a->version},
            {"source_ip", a->source_ip},
            {"original_mail_from", a->original_mail_from},
            {"original_envelope_id", a->original_envelope_id},
            {"reporting_mta", a->reporting_mta},
            {"dkim_domain", a->dkim_domain},
            {"original_rcpt_to", a->original_rcpt_to.n > 0 ? a->original_rcpt_to.item[0] : STR_NIL},
            {"reported_domain", a->reported_domain.n > 0 ? a->reported_domain.item[0] : STR_NIL},
            {"reported_uri", a->reported_uri.n > 0 ? a->reported_uri.item[0] : STR_NIL},
            /* it says "Unspecified" where the field is not there */
            {"auth_failure", a->auth_failure.n > 0 ? a->auth_failure : STR("unspecified")},
        };
        for (size_t k = 0; k < ARRAY_LEN(fields); k++) {
            struct str want = json_value(json, fields[k].key);
            if (!same_value(want, fields[k].ours))
                print_message("# %u %s: <%.*s>, want <%.*s>\n", i, fields[k].key, STR_FMT(fields[k].ours),
                              STR_FMT(want));
            assert_true(same_value(want, fields[k].ours));
        }
        uint64_t seconds = 0, incidents = 0;
        assert_int_equal(str_to_u64(json_value(json, "arrival_date"), INT64_MAX, &seconds), a->has_arrival);
        assert_int_equal(a->has_arrival ? a->arrival_s : 0, seconds);
        assert_true(str_to_u64(json_value(json, "incidents"), UINT64_MAX, &incidents));
        assert_int_equal(a->incidents, incidents);
        mime_report_del(&r);
    }
    mem_free(mem);
    mem_free(json_mem);
    mem_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivery_reports_are_read),
        cmocka_unit_test(feedback_reports_are_as_another_reads_them),
    };
    static const char *const needed[] = {"dsn-sisimai", "dsn-mikel-mail", "arf-reports"};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        char path[NAME_MAX_OURS];
        DIR *d = opendir(suite_path(path, needed[i], ""));
        if (d == NULL) {
            (void)printf("1..0 # SKIP the suite %s is not here (set WAXWING_SUITES)\n", needed[i]);
            return 0;
        }
        (void)closedir(d);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
