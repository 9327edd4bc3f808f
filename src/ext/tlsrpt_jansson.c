#include "ext/tlsrpt_jansson.h"

#include "ext/json_bounds.h"
#include "wire/date.h"

#include <jansson.h>
#include <string.h>

void tlsrpt_seed(uint64_t seed)
{
    json_seed(seed);
}

struct reading {
    struct arena *arena;
    const char *why; /* static; NULL: all is well */
};

static void wrong(struct reading *r, const char *why)
{
    if (r->why == NULL)
        r->why = why;
}

static struct str copy(struct reading *r, const json_t *value)
{
    struct str s = STR_NIL;
    if (!arena_str(r->arena, str_of(json_string_value(value), json_string_length(value)), &s))
        wrong(r, "it is too big");
    return s;
}

/* Empty when it is missing, or null. */
static struct str text_of(struct reading *r, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return STR_NIL;
    if (!json_is_string(value)) {
        wrong(r, "a text is none");
        return STR_NIL;
    }
    return copy(r, value);
}

static uint64_t count_of(struct reading *r, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        wrong(r, "a count is none");
        return 0;
    }
    return (uint64_t)json_integer_value(value);
}

/* The object or array at key; NULL when it is missing. */
static const json_t *part_of(struct reading *r, const json_t *object, const char *key, json_type type)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value))
        return NULL;
    if (json_typeof(value) != type) {
        wrong(r, "its parts are not in their places");
        return NULL;
    }
    return value;
}

static void *rows(struct reading *r, size_t n, size_t max, size_t size)
{
    if (n > max) {
        wrong(r, "it has too many rows");
        return NULL;
    }
    void *p = n > 0 ? arena_alloc_array(r->arena, n, size) : NULL;
    if (n > 0 && p == NULL)
        wrong(r, "it is too big");
    return p;
}

/* Texts; a single one may stand without its array, as mx-host does in RFC 8460's own example (appendix B). */
static const struct str *list_of(struct reading *r, const json_t *object, const char *key, size_t *out_n)
{
    const json_t *value = json_object_get(object, key);
    bool is_array = json_is_array(value);
    *out_n = 0;
    if (value == NULL || json_is_null(value))
        return NULL;
    size_t n = is_array ? json_array_size(value) : 1;
    struct str *list = rows(r, n, TLSRPT_VALUES_MAX, sizeof *list);
    for (size_t i = 0; list != NULL && i < n && r->why == NULL; i++) {
        const json_t *item = is_array ? json_array_get(value, i) : value;
        if (json_is_string(item))
            list[i] = copy(r, item);
        else
            wrong(r, "a text is none");
    }
    *out_n = list != NULL ? n : 0;
    return list;
}

static void read_failure(struct reading *r, const json_t *object, struct tls_rpt_failure *out)
{
    if (!json_is_object(object)) {
        wrong(r, "its parts are not in their places");
        return;
    }
    out->result = tls_rpt_result_parse(text_of(r, object, "result-type"));
    out->sending_ip = text_of(r, object, "sending-mta-ip");
    out->mx = text_of(r, object, "receiving-mx-hostname");
    out->helo = text_of(r, object, "receiving-mx-helo");
    out->receiving_ip = text_of(r, object, "receiving-ip");
    out->info = text_of(r, object, "additional-information");
    out->reason = text_of(r, object, "failure-reason-code");
    out->n = count_of(r, object, "failed-session-count");
}

static void read_policy(struct reading *r, const json_t *object, struct tls_rpt_policy *out)
{
    const json_t *policy = part_of(r, object, "policy", JSON_OBJECT);
    const json_t *summary = part_of(r, object, "summary", JSON_OBJECT);
    const json_t *failures = part_of(r, object, "failure-details", JSON_ARRAY);
    if (policy == NULL) {
        wrong(r, "a policy is missing");
        return;
    }
    out->type = tls_rpt_type_parse(text_of(r, policy, "policy-type"));
    out->domain = text_of(r, policy, "policy-domain");
    out->lines = list_of(r, policy, "policy-string", &out->n_lines);
    out->mx = list_of(r, policy, "mx-host", &out->n_mx);
    out->n_ok = count_of(r, summary, "total-successful-session-count");
    out->n_failed = count_of(r, summary, "total-failure-session-count");
    size_t n = json_array_size(failures);
    out->failures = rows(r, n, TLSRPT_FAILURES_MAX, sizeof *out->failures);
    out->n_failures = out->failures != NULL ? n : 0;
    for (size_t i = 0; i < out->n_failures && r->why == NULL; i++)
        read_failure(r, json_array_get(failures, i), &out->failures[i]);
}

static int64_t date_of(struct reading *r, const json_t *range, const char *key)
{
    int64_t unix_s = 0;
    if (!date_parse_rfc3339(text_of(r, range, key), &unix_s))
        wrong(r, "its date-range is missing or malformed");
    return unix_s;
}

static void read_report(struct reading *r, const json_t *root, struct tls_rpt_report *out)
{
    const json_t *range = part_of(r, root, "date-range", JSON_OBJECT);
    const json_t *policies = part_of(r, root, "policies", JSON_ARRAY);
    if (policies == NULL)
        wrong(r, "it has no policies");
    out->organization = text_of(r, root, "organization-name");
    out->contact = text_of(r, root, "contact-info");
    out->id = text_of(r, root, "report-id");
    out->begin_s = date_of(r, range, "start-datetime");
    out->end_s = date_of(r, range, "end-datetime");
    size_t n = json_array_size(policies);
    out->policies = rows(r, n, TLSRPT_POLICIES_MAX, sizeof *out->policies);
    out->n_policies = out->policies != NULL ? n : 0;
    for (size_t i = 0; i < out->n_policies && r->why == NULL; i++)
        read_policy(r, json_array_get(policies, i), &out->policies[i]);
}

bool tlsrpt_read(struct str json, struct arena *a, struct tls_rpt_report *out, struct buf *why)
{
    struct reading r = {.arena = a};
    memset(out, 0, sizeof *out);
    if (json.n > TLS_RPT_REPORT_MAX || !json_is_bounded(json, TLSRPT_DEPTH_MAX, TLSRPT_VALUES_MAX)) {
        buf_puts(why, "it is too big");
        return false;
    }
    json_error_t error;
    json_t *root = json_loadb(json.n > 0 ? json.p : "", json.n, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        buf_printf(why, "line %d: it is no JSON", error.line);
        return false;
    }
    if (json_is_object(root))
        read_report(&r, root, out);
    else
        wrong(&r, "it is no object");
    json_decref(root);
    if (r.why != NULL)
        buf_puts(why, r.why);
    return r.why == NULL;
}
