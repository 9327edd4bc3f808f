/* service/local/verdict.c: see verdict.h. */
#include "service/local/verdict.h"

#include "wire/utf8.h"

/* clang-format off */
/* sysexits.h, with the codes of Postfix (sys_exits.c). EX_IOERR is temporary here: a disk of ours that fails is no
 * property of the message. */
static const struct {
    int status;
    struct esc esc;
    const char *text;
} exits[] = {
    {64, {5, 3, 0}, "command line usage error"},
    {65, {5, 6, 0}, "data format error"},
    {66, {5, 3, 0}, "cannot open input"},
    {67, {5, 1, 1}, "user unknown"},
    {68, {5, 1, 2}, "host name unknown"},
    {69, {5, 3, 0}, "service unavailable"},
    {70, {5, 3, 0}, "internal software error"},
    {71, {4, 3, 0}, "system resource problem"},
    {72, {5, 3, 0}, "critical OS file missing"},
    {73, {5, 2, 0}, "can't create user output file"},
    {74, {4, 3, 0}, "input/output error"},
    {75, {4, 3, 0}, "temporary failure"},
    {76, {5, 5, 0}, "remote error in protocol"},
    {77, {5, 7, 0}, "permission denied"},
    {78, {5, 3, 5}, "local configuration error"},
};
/* clang-format on */

/* Printable text on one line, as far as it fits. */
static void put_output(struct str output, struct buf *text)
{
    bool had_space = true;
    while (output.n > 0) {
        uint32_t code;
        unsigned what;
        size_t n = utf8_next(output, &code);
        bool is_space = output.p[0] == ' ' || (output.p[0] >= '\t' && output.p[0] <= '\r');
        bool is_odd = n == 0 || str_odd_char(output, &what) > 0;
        struct str piece = is_space ? STR(" ") : is_odd ? STR("?") : str_slice(output, 0, n);
        if (text->n + piece.n > text->max)
            return;
        if (!is_space || !had_space)
            buf_put(text, piece);
        had_space = is_space;
        output = str_skip(output, n > 0 ? n : 1);
    }
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r')))
        s = str_skip(s, 1);
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || (s.p[s.n - 1] >= '\t' && s.p[s.n - 1] <= '\r')))
        s.n--;
    return s;
}

static void put_start_failure(enum err err, struct buf *text)
{
    buf_printf(text, "the program could not be executed: %s",
               err == ERR_NOTFOUND ? "it, or what it is run by, does not exist"
               : err == ERR_DENIED ? "permission denied"
                                   : err_str(err));
}

/* Its own words: "4.2.2 over quota". */
static bool take_own_code(struct str *output, struct job_result *out)
{
    struct esc esc;
    struct str first = *output, rest;
    size_t nl = str_chr(first, '\n'); /* the code may be all of its line */
    if (nl != STR_NPOS)
        first = str_slice(first, 0, nl);
    first = trimmed(first);
    if (!esc_parse(first, &esc, &rest) || (esc.class != 4 && esc.class != 5))
        return false;
    out->esc = esc;
    *output = trimmed(str_skip(*output, first.n - rest.n));
    return true;
}

static void put_status(int status, struct buf *text, struct job_result *out)
{
    out->esc = ESC(5, 3, 0);
    buf_printf(text, "the program ended with status %d", status);
    for (size_t i = 0; i < ARRAY_LEN(exits); i++) {
        if (exits[i].status == status) {
            out->esc = exits[i].esc;
            buf_printf(text, " (%s)", exits[i].text);
        }
    }
}

void verdict_of(const struct program_end *end, struct str output, struct buf *text, struct job_result *out)
{
    *out = (struct job_result){.kind = RESULT_TEMPORARY, .esc = ESC(4, 3, 0)};
    output = trimmed(output);
    bool is_own = false;
    if (end->err != ERR_OK) {
        put_start_failure(end->err, text);
        output = STR_NIL;
    } else if (end->signo != 0) {
        buf_printf(text, "the program was ended by signal %d", end->signo);
    } else if (end->status == 0) {
        out->kind = RESULT_OK;
        out->esc = ESC(2, 0, 0);
        buf_puts(text, "delivered to the program");
        output = STR_NIL; /* what it says when all is well is nobody's business */
    } else {
        is_own = take_own_code(&output, out);
        if (!is_own || output.n == 0) {
            struct esc own = out->esc;
            put_status(end->status, text, out);
            if (is_own)
                out->esc = own;
            is_own = false;
        }
        out->kind = out->esc.class == 5 ? RESULT_PERMANENT : RESULT_TEMPORARY;
    }
    if (output.n > 0 && !is_own)
        buf_puts(text, ": ");
    put_output(output, text);
    out->text = buf_str(text);
}
