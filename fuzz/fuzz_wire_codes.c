/* Texts of other servers: there is always a class, the same for any case, and the parts lie within the input.
 */
#include "wire/codes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool lies_in(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_of(data, size);
    struct code_reply r = {.code = 0};
    bool ok = code_reply_parse(in, &r);
    must(ok == (r.code >= 200 && r.code <= 599) && lies_in(r.text, in));
    char mem[CODE_TEXT_MAX];
    struct buf upper;
    buf_init_fixed(&upper, mem, sizeof mem);
    struct str text = str_slice(r.text, 0, sizeof mem);
    for (size_t i = 0; i < text.n; i++)
        buf_putc(&upper, text.p[i] >= 'a' && text.p[i] <= 'z' ? (char)(text.p[i] - 32) : text.p[i]);
    for (unsigned stage = CODE_AT_ANY; stage <= CODE_AT_DATA; stage++) {
        r.stage = (enum code_stage)stage;
        r.text = text;
        struct code_verdict v = code_classify(&r);
        must(v.class < CODE_CLASSES_N && v.by <= CODE_BY_CODE);
        r.text = buf_str(&upper);
        struct code_verdict same = code_classify(&r);
        must(same.class == v.class && same.by == v.by);
    }
    return 0;
}
