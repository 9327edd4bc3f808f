/* Encoded words and parameters: whatever they hide, what people read is one line of well-formed UTF-8. */
#include "wire/encoded_word.h"
#include "wire/mime_field.h"
#include "wire/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct str names[] = {STR_INIT("name"), STR_INIT("filename")};
    struct str in = str_of(data, size);
    struct mime_type type;
    struct buf out;
    buf_init(&out, size * CHARSET_GROWTH_MAX + 1);
    encoded_words_decode(in, NULL, &out);
    must(!out.failed && utf8_is_valid(buf_str(&out)) && !str_has_ctl(buf_str(&out)));
    mime_type_parse(in, &type);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        buf_reset(&out);
        (void)param_text(type.params, names[i], NULL, &out);
        must(!out.failed && utf8_is_valid(buf_str(&out)) && !str_has_ctl(buf_str(&out)));
    }
    buf_fini(&out);
    return 0;
}
