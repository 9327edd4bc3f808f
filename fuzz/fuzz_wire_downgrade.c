/* Messages, converted for each need: whole and in parts give the same; nothing goes out that may not; every
 * leaf decodes to what it was; what is converted needs no conversion. The first octet says how long the parts
 * are. */
#include "wire/downgrade_testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_leaves(struct str before, struct str after)
{
    enum mime_trouble t;
    struct leaves *a = leaves_new(before, &t);
    struct leaves *b = leaves_new(after, &t);
    must(a->n == b->n);
    for (size_t i = 0; i < a->n; i++)
        must(leaf_same(a, b, i));
    leaves_del(a);
    leaves_del(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str in = str_of(data + 1, size - 1);
    size_t step = 1 + data[0] % 80;
    for (unsigned need = 0; need <= (DOWNGRADE_8BIT | DOWNGRADE_BINARY); need++) {
        struct conversion whole, parts, again;
        conversion_run(&whole, need, in, size, 65536);
        conversion_run(&parts, need, in, step, 1 + data[0]);
        must(whole.status == parts.status && str_eq(buf_str(&whole.out), buf_str(&parts.out)));
        must(str_eq(buf_str(&whole.why), buf_str(&parts.why)));
        if (whole.status == DOWNGRADE_NOT_NEEDED)
            must(str_eq(buf_str(&whole.out), in));
        if (whole.status <= DOWNGRADE_NOT_NEEDED) {
            must(first_forbidden(buf_str(&whole.out), need) == STR_NPOS);
            check_leaves(in, buf_str(&whole.out));
            conversion_run(&again, need, buf_str(&whole.out), step, 65536);
            must(again.status == DOWNGRADE_NOT_NEEDED);
            conversion_fini(&again);
        }
        conversion_fini(&whole);
        conversion_fini(&parts);
    }
    return 0;
}
