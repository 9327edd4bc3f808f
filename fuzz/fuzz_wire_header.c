/* Header sections: the fields and the body make up the message again, and the size agrees with the walk. Each
 * field's body is tried as a date. */
#include "wire/date.h"
#include "wire/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_date(struct str s)
{
    int64_t t, again;
    if (!date_parse_rfc5322(s, &t))
        return;
    char mem[64];
    struct buf b;
    buf_init_fixed(&b, mem, sizeof mem);
    date_format_rfc5322(t, &b);
    must(!b.failed && date_parse_rfc5322(buf_str(&b), &again));
    must(again == t || t < INT64_C(-62167219200) ||
         t > INT64_C(253402300799)); /* years 0 and 9999 with a zone */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct header_walk w;
    struct header_field f = {0};
    size_t at = 0, n = 0;
    header_walk_init(&w, in);
    while (header_walk_next(&w, &f)) {
        must(f.raw.p == in.p + at && f.raw.n > 0 && f.name.n > 0);
        must(f.body.p >= f.name.p + f.name.n && f.body.p + f.body.n <= f.raw.p + f.raw.n);
        at += f.raw.n;
        n += str_ieq(f.name, STR("received"));
        check_date(f.body);
    }
    must(w.in_body && w.rest.n <= in.n - at && in.n - at - w.rest.n <= 2);
    must(header_count(in, STR("Received")) == n);
    size_t section = header_section_size(in);
    must(section == STR_NPOS || section == in.n - w.rest.n);
    check_date(in);
    return 0;
}
