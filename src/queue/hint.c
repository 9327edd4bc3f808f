#include "queue/hint.h"

#include "wire/codes.h"

enum { NUMBER_MAX = 1000000 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool holds_word(struct str text, struct str word)
{
    for (size_t i = 0; i + word.n <= text.n; i++) {
        if (str_istarts(str_skip(text, i), word))
            return true;
    }
    return false;
}

/* The number at the start of *s, which goes on behind it; over NUMBER_MAX it stays there. */
static uint32_t take_number(struct str *s)
{
    uint32_t n = 0;
    while (s->n > 0 && is_digit(s->p[0])) {
        n = n < NUMBER_MAX ? n * 10 + (uint32_t)(s->p[0] - '0') : n;
        *s = str_skip(*s, 1);
    }
    return n;
}

/* What a number stands for by the unit behind it; 0: it is no time. */
static uint32_t unit_s(struct str s)
{
    static const struct {
        const char *word;
        uint32_t s;
    } units[] = {{"seconds", 1}, {"second", 1}, {"secs", 1}, {"sec", 1}, {"s", 1},        {"minutes", 60},
                 {"minute", 60}, {"mins", 60},  {"min", 60}, {"m", 60},  {"hours", 3600}, {"hour", 3600}};
    while (s.n > 0 && s.p[0] == ' ')
        s = str_skip(s, 1);
    size_t n = 0;
    while (n < s.n && is_letter(s.p[n]))
        n++;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_ieq(str_slice(s, 0, n), str_from_c(units[i].word)))
            return units[i].s;
    }
    return 0;
}

/* The time that begins with the digit at the start of s: "hh:mm:ss", "mm:ss" or a number and a unit; 0: none.
 * *out_n: octets to go on behind. */
static uint64_t time_at(struct str s, size_t *out_n)
{
    struct str rest = s;
    uint64_t total = take_number(&rest);
    unsigned n_colons = 0;
    while (n_colons < 2 && rest.n > 2 && rest.p[0] == ':' && is_digit(rest.p[1]) && is_digit(rest.p[2]) &&
           (rest.n == 3 || !is_digit(rest.p[3]))) {
        rest = str_skip(rest, 1);
        total = total * 60 + take_number(&rest);
        n_colons++;
    }
    *out_n = s.n - rest.n;
    return n_colons > 0 ? total : total * unit_s(rest);
}

uint32_t report_retry_hint(uint16_t code, struct esc esc, struct str text)
{
    if (code < 400 || code > 499 || (esc.class != 0 && esc.class != 4))
        return 0;
    const struct code_reply r = {.code = code, .esc = esc, .text = text};
    bool is_grey = code_classify(&r).class == CODE_GREYLISTED;
    bool asks = is_grey || holds_word(text, STR("again")) || holds_word(text, STR("retry")) ||
                holds_word(text, STR("come back")) || holds_word(text, STR("wait"));
    if (!asks)
        return 0;
    for (size_t i = 0, n = 1; i < text.n; i += n) {
        n = 1;
        /* not amid a name, an address or a version */
        bool begins = is_digit(text.p[i]) && (i == 0 || text.p[i - 1] == ' ' || text.p[i - 1] == '(' ||
                                              text.p[i - 1] == '=' || text.p[i - 1] == '\n');
        if (!begins)
            continue;
        uint64_t s = time_at(str_skip(text, i), &n);
        if (s > 0)
            return s < RETRY_HINT_MIN_S   ? RETRY_HINT_MIN_S
                   : s > RETRY_HINT_MAX_S ? RETRY_HINT_MAX_S
                                          : (uint32_t)s;
    }
    return is_grey ? RETRY_HINT_GREYLISTED_S : 0;
}
