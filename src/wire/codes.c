#include "wire/codes.h"

#include "wire/codes_table.h"

/* ---- classes ---- */

static const struct {
    const char *word, *about_word, *meaning, *advice;
    enum code_about about;
    bool is_hard;
} classes[] = {
#define WORD_RECIPIENT "the recipient"
#define WORD_US "us"
#define WORD_MESSAGE "the message"
#define WORD_THEM "them"
#define X(NAME, word, about, is_hard, meaning, advice)                                                       \
    [CODE_##NAME] = {word, WORD_##about, meaning, advice, CODE_ABOUT_##about, is_hard},
    CODE_CLASSES(X)
#undef X
};

static unsigned known(unsigned c)
{
    return c < CODE_CLASSES_N ? c : CODE_OTHER;
}

const char *code_class_word(unsigned c)
{
    return classes[known(c)].word;
}

bool code_class_parse(struct str word, enum code_class *out)
{
    for (unsigned i = 0; i < CODE_CLASSES_N; i++) {
        if (str_ieq(word, str_from_c(classes[i].word))) {
            *out = (enum code_class)i;
            return true;
        }
    }
    return false;
}

bool code_class_is_hard(enum code_class c)
{
    return classes[known(c)].is_hard;
}

enum code_about code_class_about(enum code_class c)
{
    return classes[known(c)].about;
}

const char *code_class_meaning(enum code_class c)
{
    return classes[known(c)].meaning;
}

/* ---- the text ---- */

static bool is_space(char c)
{
    return c == '\0' || (unsigned char)c <= ' ' || c == 0x7f;
}

static struct str skip_spaces(struct str s)
{
    while (s.n > 0 && is_space(s.p[0]))
        s = str_skip(s, 1);
    return s;
}

/* Takes "550 ", "550-" and "5.1.1 " off the front of a line, with what goes for them in `out` when it has
 * none yet. */
static struct str skip_codes(struct str line, struct code_reply *out)
{
    struct esc esc;
    struct str rest = skip_spaces(line);
    if (rest.n >= 3 && rest.p[0] >= '2' && rest.p[0] <= '5' && ascii_is_digit(rest.p[1]) &&
        ascii_is_digit(rest.p[2]) &&
        (rest.n == 3 || rest.p[3] == ' ' || rest.p[3] == '-' || is_space(rest.p[3]))) {
        if (out->code == 0)
            out->code = (uint16_t)((rest.p[0] - '0') * 100 + (rest.p[1] - '0') * 10 + (rest.p[2] - '0'));
        rest = skip_spaces(str_skip(rest, 4));
    }
    if (esc_parse(rest, &esc, &rest) && out->esc.class == 0)
        out->esc = esc;
    return rest;
}

/* Small letters, one space for many, "@" for each word with an address, no codes at the starts of lines. */
static void fold(struct str text, struct buf *out)
{
    struct code_reply ignored = {.code = 1, .esc = ESC(5, 0, 0)};
    size_t word = 0; /* where in out it began */
    bool has_at = false;
    text = str_slice(text, 0, CODE_TEXT_MAX);
    while (text.n > 0) {
        struct str line = skip_codes(str_cut(&text, '\n'), &ignored);
        for (size_t i = 0; i <= line.n; i++) {
            char c = i < line.n ? line.p[i] : ' ';
            bool ends = is_space(c) || c == '<' || c == '>' || c == '(' || c == ')' || c == ',' || c == ';';
            has_at = has_at || c == '@';
            if (ends && has_at) {
                out->n = word;
                buf_putc(out, '@');
                has_at = false;
            }
            if (!is_space(c))
                buf_putc(out, ascii_lower(c));
            else if (out->n > 0 && out->p[out->n - 1] != ' ')
                buf_putc(out, ' ');
            if (ends)
                word = out->n;
        }
    }
}

static bool is_word(struct str s, size_t at)
{
    return at < s.n && ascii_is_alnum(s.p[at]);
}

/* Does the piece of a pattern (without *) stand at text[at]? *out_n: octets it takes. */
static bool piece_at(struct str piece, struct str text, size_t at, size_t *out_n)
{
    size_t k = at;
    for (size_t i = 0; i < piece.n; i++) {
        if (piece.p[i] == '_') {
            if (is_word(text, k) && k > 0 && is_word(text, k - 1))
                return false;
        } else if (k >= text.n || text.p[k++] != piece.p[i]) {
            return false;
        }
    }
    *out_n = k - at;
    return true;
}

/* The pieces between * one after the other, each where it first stands: that finds a match when there is one.
 * A piece that ends in a space, as in "user * full", takes the one that `fold` has left there. */
static bool holds(struct str text, struct str pattern)
{
    size_t at = 0;
    while (pattern.n > 0) {
        struct str piece = str_cut(&pattern, '*');
        size_t n = 0;
        while (at <= text.n && !piece_at(piece, text, at, &n))
            at++;
        if (at > text.n)
            return false;
        at += n;
    }
    return true;
}

static const struct code_text *find_text(const struct code_text *rows, size_t n, struct str text,
                                         unsigned class)
{
    for (size_t i = 0; i < n; i++) {
        if ((rows[i].class == 0 || rows[i].class == class) && holds(text, str_from_c(rows[i].pattern)))
            return &rows[i];
    }
    return NULL;
}

/* ---- the numbers ---- */

static const struct code_status *find_status(struct esc esc)
{
    for (size_t i = 0; esc.class != 0 && i < ARRAY_LEN(code_statuses); i++) {
        const struct code_status *s = &code_statuses[i];
        if ((s->class == 0 || s->class == esc.class) && s->subject == esc.subject &&
            esc.detail >= s->detail && esc.detail <= s->last_detail)
            return s;
    }
    return NULL;
}

/* RFC 3463 2: what the subject alone says. */
static enum code_class by_subject(struct esc esc)
{
    static const enum code_class subjects[] = {CODE_OTHER,          CODE_BAD_ADDRESS, CODE_MAILBOX_DISABLED,
                                               CODE_SERVER_TROUBLE, CODE_NETWORK,     CODE_PROTOCOL,
                                               CODE_CONTENT,        CODE_POLICY};
    if (esc.class == 0 || esc.subject >= ARRAY_LEN(subjects))
        return CODE_OTHER;
    /* X.1.0, X.2.0 and X.5.0 are put on anything, so they say as little as X.0.0 */
    bool says_nothing = esc.detail == 0 && (esc.subject <= 2 || esc.subject == 5);
    return says_nothing ? CODE_OTHER : subjects[esc.subject];
}

/* RFC 5321 4.2.3, RFC 4954 6, RFC 7504. */
static enum code_class by_code(uint16_t code, enum code_stage stage)
{
    switch (code) {
    case 421:
    case 451:
        return CODE_SERVER_TROUBLE;
    case 452:
        return stage == CODE_AT_RCPT ? CODE_RATE_LIMITED : CODE_SERVER_TROUBLE;
    case 454:
        return stage == CODE_AT_SESSION ? CODE_TLS : CODE_SERVER_TROUBLE;
    case 455:
    case 500:
    case 501:
    case 502:
    case 503:
    case 504:
    case 555:
        return CODE_PROTOCOL;
    case 521:
        return stage == CODE_AT_RCPT || stage == CODE_AT_MAIL || stage == CODE_AT_ANY ? CODE_DOMAIN_UNKNOWN
                                                                                      : CODE_POLICY;
    case 556:
        return CODE_DOMAIN_UNKNOWN;
    case 432:
    case 530:
    case 534:
    case 535:
    case 538:
        return CODE_AUTH_REQUIRED;
    case 550:
        return stage == CODE_AT_RCPT ? CODE_UNKNOWN_USER : CODE_POLICY;
    case 551:
        return CODE_MOVED;
    case 552:
        return stage == CODE_AT_RCPT ? CODE_MAILBOX_FULL : CODE_TOO_BIG;
    case 553:
        return stage == CODE_AT_MAIL ? CODE_SENDER_REFUSED : CODE_BAD_ADDRESS;
    case 554:
        return stage == CODE_AT_SESSION ? CODE_BLOCKED_IP : CODE_POLICY;
    default:
        return CODE_OTHER;
    }
}

/* ---- all of it ---- */

/* What is left of a status when no text helped. */
static struct code_verdict by_rest(const struct code_reply *r, const struct code_status *s)
{
    struct code_verdict v = {s != NULL ? s->is : by_subject(r->esc), CODE_BY_CODE};
    if (v.class == CODE_OTHER)
        v.class = by_code(r->code, r->stage);
    if (v.class == CODE_OTHER && r->stage == CODE_AT_SESSION && r->code >= 500)
        v.class = CODE_POLICY;
    return v;
}

/* We decided, without a word of theirs. */
static bool is_local(const struct code_reply *r, enum code_class *out)
{
    if (r->code != 0 || r->esc.class == 0)
        return false;
    *out = CODE_LOCAL_TROUBLE;
    return r->esc.subject == 3 && (r->esc.detail == 0 || r->esc.detail == 1 || r->esc.detail == 5);
}

struct code_verdict code_classify(const struct code_reply *r)
{
    char mem[CODE_TEXT_MAX + 8];
    struct buf folded;
    enum code_class local;
    if (is_local(r, &local))
        return (struct code_verdict){local, CODE_BY_STATUS};
    buf_init_fixed(&folded, mem, sizeof mem);
    fold(r->text, &folded);
    struct str text = buf_str(&folded);
    /* the two may contradict each other: the reply code counts for what is done, so here too */
    unsigned class = r->code >= 200 ? r->code / 100 : r->esc.class != 0 ? r->esc.class : 5;
    const struct code_text *t = find_text(code_first_texts, ARRAY_LEN(code_first_texts), text, class);
    const struct code_status *s = find_status(r->esc);
    if (t != NULL)
        return (struct code_verdict){t->is, CODE_BY_TEXT};
    if (s != NULL && !s->is_vague)
        return (struct code_verdict){s->is, CODE_BY_STATUS};
    t = find_text(code_texts, ARRAY_LEN(code_texts), text, class);
    return t != NULL ? (struct code_verdict){t->is, CODE_BY_TEXT} : by_rest(r, s);
}

bool code_reply_parse(struct str s, struct code_reply *out)
{
    out->code = 0;
    out->esc = ESC(0, 0, 0);
    s = str_trim(s);
    size_t type = str_chr(str_slice(s, 0, 16), ';');
    if (type != STR_NPOS && (str_istarts(s, STR("smtp")) || str_istarts(s, STR("x-"))))
        s = str_trim(str_skip(s, type + 1));
    out->text = skip_codes(s, out);
    return out->code != 0;
}

/* ---- docs/codes.md ---- */

static void put_status(struct buf *out, const struct code_status *s)
{
    const char *class = s->class == 0 ? "X" : s->class == 4 ? "4" : "5";
    buf_printf(out, "%s.%u.%u", class, s->subject, s->detail);
    if (s->last_detail != s->detail)
        buf_printf(out, " to %s.%u.%u", class, s->subject, s->last_detail);
}

void codes_doc(struct buf *out)
{
    buf_puts(out, "| class | about | hard | what it means | what to do |\n|---|---|---|---|---|\n");
    for (unsigned i = 0; i < CODE_CLASSES_N; i++)
        buf_printf(out, "| `%s` | %s | %s | %s | %s |\n", classes[i].word, classes[i].about_word,
                   classes[i].is_hard ? "yes" : "no", classes[i].meaning, classes[i].advice);
    buf_puts(out, "\n| class | enhanced status codes that mean it | unless the text says another |\n"
                  "|---|---|---|\n");
    for (unsigned i = 0; i < CODE_CLASSES_N; i++) {
        size_t start = out->n;
        buf_printf(out, "| `%s` |", classes[i].word);
        unsigned n = 0;
        for (unsigned is_vague = 0; is_vague < 2; is_vague++) {
            bool is_first = true;
            for (size_t k = 0; k < ARRAY_LEN(code_statuses); k++) {
                const struct code_status *s = &code_statuses[k];
                if (s->is != (enum code_class)i || s->is_vague != (is_vague == 1))
                    continue;
                buf_puts(out, is_first ? " " : ", ");
                put_status(out, s);
                is_first = false;
                n++;
            }
            buf_puts(out, is_first ? "|" : " |");
        }
        if (n == 0)
            out->n = start;
        else
            buf_putc(out, '\n');
    }
}
