/* Reports about hostile replies and originals. Lines of the input, in order: flags and status, address,
 * remote host, reason, diagnostic (each up to a NUL); the rest is the original. */
#include "wire/dsn.h"
#include "wire/header.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { REPORT_MAX = 1 << 20 };

static void check_octets(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        must(s.p[i] != '\n' || (i > 0 && s.p[i - 1] == '\r'));
        must(s.p[i] != '\r' || (i + 1 < s.n && s.p[i + 1] == '\n'));
    }
}

/* Delimiter lines: three parts, two without an original, and an end that ends the report. */
static void check_parts(struct str all, bool has_original)
{
    struct header_walk w;
    struct header_field f = {0};
    header_walk_init(&w, all);
    while (header_walk_next(&w, &f) && !str_ieq(f.name, STR("Content-Type")))
        continue;
    size_t at = str_find(f.body, STR("boundary=\""));
    must(at != STR_NPOS);
    struct str boundary = str_skip(f.body, at + 10);
    boundary.n = str_chr(boundary, '"');
    char mem[80];
    struct buf delimiter;
    buf_init_fixed(&delimiter, mem, sizeof mem);
    must(buf_puts(&delimiter, "\r\n--") && buf_put(&delimiter, boundary));
    size_t n = 0;
    struct str rest = str_skip(all, header_section_size(all) - 2);
    while ((at = str_find(rest, buf_str(&delimiter))) != STR_NPOS) {
        rest = str_skip(rest, at + delimiter.n);
        n++;
    }
    must(n == (has_original ? 4 : 3) && str_eq(rest, STR("--\r\n")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct str first = str_cut(&in, '\0');
    if (first.n < 4)
        return 0;
    unsigned flags = (uint8_t)first.p[0];
    struct dsn_rcpt rcpts[2] = {
        {.action = (enum dsn_action)(flags % 5), .last_attempt_s = (int8_t)first.p[1]}};
    struct dsn_rcpt *r = &rcpts[0];
    r->status = ESC((uint8_t)((flags & 32) != 0 ? 5 : 4), (uint8_t)first.p[2] % 10, (uint8_t)first.p[3] % 30);
    r->address = str_cut(&in, '\0');
    r->remote_host = str_cut(&in, '\0');
    r->reason = str_cut(&in, '\0');
    r->diagnostic = str_cut(&in, '\0');
    rcpts[1] = *r;
    rcpts[1].action = DSN_FAILED;
    struct dsn d = {
        .reporting_mta = STR("mail.example.org"),
        .from = STR("mailer-daemon@mail.example.org"),
        .to = STR("ann@example.org"),
        .own_id = 2,
        .rcpts = rcpts,
        .n_rcpts = (flags & 64) != 0 ? 2 : 1,
        .original = in,
        .original_is_whole = (flags & 128) != 0,
        .original_utf8 = ((uint8_t)first.p[1] & 1) != 0,
        .utf8 = (flags & 16) != 0,
    };
    struct buf b;
    buf_init(&b, REPORT_MAX);
    dsn_format(&d, &b);
    must(!b.failed);
    struct str all = buf_str(&b);
    check_octets(all);
    must(d.utf8 || str_is_ascii(str_slice(all, 0, header_section_size(all))));
    must(str_is_ascii(d.original) ? utf8_is_valid(all) : true);
    must(d.utf8 || !str_is_ascii(d.original) || str_is_ascii(all)); /* all else goes by seven bits */
    must(header_count(all, STR("Subject")) == 1 && header_count(all, STR("Auto-Submitted")) == 1);
    check_parts(all, d.original.n > 0);
    buf_fini(&b);
    return 0;
}
