#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/siphash.h"

/* The key 0, 1, ... 15 and texts 0, 1, 2, ...: the first are those of the reference, the others what OpenSSL
 * says (openssl mac -macopt size:16 ... SIPHASH). */
static void known_answers(void **state)
{
    UNUSED(state);
    static const struct {
        size_t n;
        const char *hex;
    } rows[] = {
        {0, "a3817f04ba25a8e66df67214c7550293"},   {1, "da87c1d86b99af44347659119b22fc45"},
        {2, "8177228da4a45dc7fca38bdef60affe4"},   {7, "a1f1ebbed8dbc153c0b84aa61ff08239"},
        {8, "3b62a9ba6258f5610f83e264f31497b4"},   {9, "264499060ad9baabc47f8b02bb6d71ed"},
        {15, "5493e99933b0a8117e08ec0f97cfc3d9"},  {16, "6ee2a4ca67b054bbfd3315bf85230577"},
        {33, "77c6077146f01c32b6b69d5f4ea9ffcf"},  {255, "1c9bb67528165f8e468248e3799b0eab"},
        {256, "67a00304d3834c4612eaee7b5f579acb"}, {300, "ce005a406d14b36d5386b5f7a7e1b311"},
    };
    unsigned char key[SIPHASH_KEY], text[300], out[SIPHASH_SIZE];
    for (unsigned i = 0; i < sizeof key; i++)
        key[i] = (unsigned char)i;
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (unsigned char)i;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char mem[2 * SIPHASH_SIZE + 1];
        struct buf hex;
        buf_init_fixed(&hex, mem, sizeof mem);
        siphash(key, str_of(text, rows[i].n), out);
        for (size_t k = 0; k < sizeof out; k++)
            buf_printf(&hex, "%02x", out[k]);
        assert_true(str_eq(buf_str(&hex), str_from_c(rows[i].hex)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
