/* A passwd-like file: refused with the number of a line that is there and a reason, or taken, and then each
 * name before a colon is found or locked, in either case of letters. */
#include "service/keys/users.h"

#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_lines(struct str text)
{
    size_t n = 0;
    while (text.n > 0) {
        (void)str_cut(&text, '\n');
        n++;
    }
    return n;
}

static void check_refused(struct str text, struct str why)
{
    uint64_t line;
    must(str_starts(why, STR("line ")));
    struct str number = str_skip(why, 5);
    size_t n = 0;
    while (n < number.n && ascii_is_digit(number.p[n]))
        n++;
    must(str_to_u64(str_slice(number, 0, n), UINT32_MAX, &line));
    must(line >= 1 && line <= count_lines(text) && n < number.n);
}

static void check_taken(struct str text, const struct users *u)
{
    size_t n = 0, n_open = 0;
    while (text.n > 0) {
        struct verifier v;
        struct str line = str_trim(str_cut(&text, '\n'));
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0 || line.p[0] == '#')
            continue;
        struct str name = str_trim(str_cut(&line, ':'));
        n++;
        must(name.n > 0 && !str_has_ctl(name));
        if (users_find(u, name, &v)) {
            must(v.asks != VERIFIER_NONE && !v.is_false);
            n_open++;
        }
    }
    must(n == users_count(u));
    must((n_open > 0) == (users_like(u) != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_of(data, size);
    struct users *u;
    char mem[1024];
    struct buf why;
    buf_init_fixed(&why, mem, sizeof mem);
    if (users_parse(text, &u, &why) == ERR_OK) {
        must(why.n == 0);
        check_taken(text, u);
    } else {
        must(u == NULL && !why.failed);
        check_refused(text, buf_str(&why));
    }
    users_free(&u);
    return 0;
}
